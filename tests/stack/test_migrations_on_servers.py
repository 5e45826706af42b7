"""The migrations on a real Postgres: up, down and up again, no drift, and never in anyone's way for long."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError

import core.accounts.tables
import core.consents.tables
import core.webhooks.tables  # noqa: F401 - all tables are in Base.metadata then
from core.jobs.database import Database, alembic_config
from core.jobs.tables import Base

ROOT = Path(__file__).resolve().parents[2]


def test_up_and_down_and_up_again_without_drift(new_database: Callable[[], str]) -> None:
    database = Database(new_database())
    config = alembic_config(database.url)
    database.migrate()
    command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    with database.engine.connect() as connection:
        left = connection.scalars(text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")).all()
    assert left == [], "functions of triggers"
    database.migrate()
    with database.engine.connect() as connection:
        assert (
            compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata) == []
        )
    database.close()


def test_several_at_once(new_database: Callable[[], str]) -> None:
    url = new_database()
    code = "import sys; from core.jobs.database import Database; Database(sys.argv[1]).migrate()"
    started = [subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]


def test_a_migration_that_would_wait_for_a_lock_gives_up_and_changes_nothing(new_database: Callable[[], str]) -> None:
    database = Database(new_database())
    database.migrate()
    config = alembic_config(database.url)
    config.attributes["lock_timeout"] = "300ms"
    reader = create_engine(database.url)
    with reader.connect() as connection:
        connection.execute(text("SELECT count(*) FROM upload"))  # an open transaction holds a lock on what it read
        began = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            command.downgrade(config, "0003")
        assert time.monotonic() - began < 20
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == "0004"
    reader.dispose()
    database.close()


def test_each_server_connection_has_its_limits(new_database: Callable[[], str]) -> None:
    database = Database(new_database())
    with database.engine.connect() as connection:
        limits = {
            name: connection.scalar(text(f"SHOW {name}"))
            for name in ("lock_timeout", "idle_in_transaction_session_timeout")
        }
    assert limits == {"lock_timeout": "30s", "idle_in_transaction_session_timeout": "2min"}
    database.close()
