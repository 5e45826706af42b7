"""`likeness migrate`: brings the database to the schema of this version, before the new processes start."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.console import stderr

RETRY_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def migrate(
        wait: Annotated[float, typer.Option(help="Seconds to wait for a database that is still starting.")] = 60.0,
    ) -> None:
        """Bring the database to its newest schema. The processes of the version before may run on meanwhile."""
        from sqlalchemy.exc import OperationalError

        from core.jobs.database import Database
        from core.settings import load_settings

        database = Database(load_settings().database)
        until = time.monotonic() + wait
        try:
            while True:
                try:
                    database.migrate()
                    break
                except OperationalError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(RETRY_SECONDS)
        finally:
            database.close()
        stderr.print("The database has the newest schema.")
