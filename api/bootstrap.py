"""Opens the platform's parts: folders, secret, database at its newest schema, and in embedded mode a first API key."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy import select

from api.deps import Platform
from core.accounts.keys import create_key, create_tenant, tenant_of_key
from core.jobs.database import Database
from core.jobs.tables import Tenant
from core.settings import Settings
from core.storage import open_store

KEY_FILE = "api-key"
API_PATIENCE_SECONDS = 5.0
"""How long a request waits for an object store that is away, before it is answered 503."""
_SECRET_FILE = "secret"  # noqa: S105 - the name of a file


def open_platform(settings: Settings, *, migrate: bool = True) -> Platform:
    """The parts that the API needs. Makes what is not there yet; without `migrate`, a database of old is refused."""
    data = settings.data_dir.absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.umf_dir.mkdir(exist_ok=True)
    secret_key = settings.secret_key.get_secret_value() or _kept(data / _SECRET_FILE, secrets.token_hex(32))
    database = Database(settings.database)
    if migrate:
        database.migrate()
    else:
        database.require_current()
    return Platform(settings, database, open_store(settings, secret_key, API_PATIENCE_SECONDS), secret_key)


def first_key(platform: Platform) -> str:
    """The key of the embedded form's tenant; made on first start, and kept in a file that only its owner can read."""
    path = platform.settings.data_dir.absolute() / KEY_FILE
    if path.exists():
        key = path.read_text().strip()
        with platform.database.read() as session:
            if tenant_of_key(session, key, platform.secret_key) is not None:
                return key
        path.unlink()
    with platform.database.write() as session:
        tenant = session.scalar(select(Tenant.id).order_by(Tenant.id).limit(1)) or create_tenant(session, "local")
        key = create_key(session, tenant, platform.secret_key)
    return _kept(path, key)


def _kept(path: Path, value: str) -> str:
    """The file's content; `value` where there was none. Only its owner can read it."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(value + "\n")
    return value
