"""The platform's secret key: from the settings, or in the embedded form from a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.settings import Settings

SECRET_FILE = "secret"  # noqa: S105 - the name of a file


def platform_secret(settings: Settings) -> str:
    """The key of all HMACs; made on first use where the settings have none (production mode refuses that)."""
    given = settings.secret_key.get_secret_value()
    return given or kept(settings.data_dir.absolute() / SECRET_FILE, secrets.token_hex(32))


def kept(path: Path, value: str) -> str:
    """The file's content; `value` where there was no file. Only its owner can read it."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(value + "\n")
    return value
