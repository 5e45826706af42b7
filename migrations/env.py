"""Runs the migrations against the database that the caller names, in one transaction where the database can."""

from __future__ import annotations

from alembic import context

from core.accounts import tables as accounts
from core.consents import tables as consents
from core.jobs.database import Database
from core.jobs.tables import Base
from core.settings import load_settings
from core.webhooks import tables as webhooks

ROOMS = (accounts, consents, webhooks)
"""Importing a room's tables adds them to `Base.metadata`."""

MIGRATION_LOCK = 5_207_617


def run() -> None:
    """Migrate the database of the caller's config, or of the settings when `alembic` is called by hand."""
    url = context.config.attributes.get("url") or load_settings().database
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # One at a time: several copies of the API may start at once. The lock ends with the connection.
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
                # A change of the schema that waits for a lock makes everyone behind it wait too: it gives up instead.
                lock_timeout = context.config.attributes.get("lock_timeout", "5s")
                connection.exec_driver_sql(f"SET lock_timeout = '{lock_timeout}'")
                connection.exec_driver_sql("SET statement_timeout = '60s'")
                connection.commit()
            else:
                # SQLite alters a table by making it anew: its rows must not seem to lose their parents meanwhile. The
                # switch works outside a transaction only, so it goes past SQLAlchemy, which begins one by itself.
                connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=connection.dialect.name == "sqlite",
                compare_type=True,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        database.close()


run()
