"""How the platform opens its database: SQLite in write-ahead mode, or Postgres, behind the same two blocks.

A read block never waits for a writer. A write block is one transaction: all of it, or nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from core.errors import UsageError

if TYPE_CHECKING:
    from alembic.config import Config

SQLITE_WAIT_SECONDS = 30.0
SERVER_LIMITS: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 20_000,
    "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=120s",
}
"""Nothing waits for ever: for a server that is away, for a lock, or for a process that froze in a transaction."""


class Database:
    """An engine and its two kinds of transaction. One for each process: never carry it over a fork."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _open(url)
        self._writing = self.engine.execution_options(likeness_write=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads, on one consistent snapshot."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose transaction is committed at the end of the block, or rolled back if it raises."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Bring the schema to its newest version (from nothing, too)."""
        from alembic import command  # a second to import on a slow machine; workers never migrate

        command.upgrade(alembic_config(self.url), "head")

    def require_current(self) -> None:
        """Check that the schema is this version's. A newer one will do: an upgrade migrates before it starts processes.

        Raises:
            UsageError: `database_not_migrated`.
        """
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        script = ScriptDirectory.from_config(alembic_config(self.url))
        with self.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        older = {revision.revision for revision in script.walk_revisions()} - set(script.get_heads())
        if found is None or found in older:
            hint = "Run `likeness migrate` first."
            raise UsageError("database_not_migrated", "The database lacks the schema of this version.", hint)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def alembic_config(url: str) -> Config:
    """Alembic's settings, without a file: where the migrations are, and for which database."""
    from alembic.config import Config

    config = Config()
    folder = importlib.import_module("migrations").__file__
    config.set_main_option("script_location", str(Path(str(folder)).parent))
    config.attributes["url"] = url
    return config


def _open(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args=SERVER_LIMITS)
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to send, see below
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads first and writes later can't wait for another writer in SQLite: it fails at once.
        # So a writer takes the write lock at its start.
        writes = connection.get_execution_options().get("likeness_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
