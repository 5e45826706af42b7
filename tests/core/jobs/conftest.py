"""A real SQLite file at the newest schema, and a tenant, for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.accounts.keys import create_tenant
from core.jobs.database import Database


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that the real migrations made, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "likeness.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    with database.write() as session:
        create_tenant(session, "first")
    database.close()
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "likeness.sqlite3"
    shutil.copyfile(migrated, path)
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.close()
