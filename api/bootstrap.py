"""Opens the platform's parts: folders, secret, database at its newest schema, and in embedded mode a first API key."""

from __future__ import annotations

import gc

from sqlalchemy import select

from api.deps import Platform
from core.accounts.keys import create_key, create_tenant, tenant_of_key
from core.accounts.secret import kept, platform_secret
from core.jobs.database import Database
from core.jobs.tables import Tenant
from core.settings import Settings
from core.storage import open_store

KEY_FILE = "api-key"
API_PATIENCE_SECONDS = 5.0
"""How long a request waits for an object store that is away, before it is answered 503."""


def open_platform(settings: Settings, *, migrate: bool = True) -> Platform:
    """The parts that the API needs. Makes what is not there yet; without `migrate`, a database of old is refused."""
    data = settings.data_dir.absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.umf_dir.mkdir(exist_ok=True)
    secret_key = platform_secret(settings)
    database = Database(settings.database)
    if migrate:
        database.migrate()
    else:
        database.require_current()
    return Platform(settings, database, open_store(settings, secret_key, API_PATIENCE_SECONDS), secret_key)


def collect_rarely() -> None:
    """Spare requests the pauses of the garbage collector: what lives now is never looked at again, the rest seldom.

    For a process that only answers requests, once its parts are loaded. At 300 polls a second it saves a fifth of the
    processor time, and the longest waits (docs/http.md, Load).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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
        key = create_key(session, tenant, platform.secret_key, name="embedded")
    return kept(path, key)
