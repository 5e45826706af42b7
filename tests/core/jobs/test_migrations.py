"""The migrations make what the models say, and can be undone."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from core.jobs.database import Database, alembic_config
from core.jobs.tables import Base


def test_models_and_migrations_do_not_drift(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_up_and_down_again(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'likeness.sqlite3'}")
    database.migrate()
    assert "stage_run" in inspect(database.engine).get_table_names()
    command.downgrade(alembic_config(database.url), "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.migrate()
    database.close()


def test_the_database_file_is_private(database: Database, tmp_path: Path) -> None:
    fresh = Database(f"sqlite:///{tmp_path / 'folder' / 'fresh.sqlite3'}")
    fresh.close()
    assert (tmp_path / "folder" / "fresh.sqlite3").stat().st_mode & 0o077 == 0


def test_the_tables_compile_for_postgres() -> None:
    dialect = postgresql.dialect()
    for table in Base.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))
