"""`likeness background`: relay, reaper, sweepers and webhooks as a process of their own, beside servers."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError

if TYPE_CHECKING:
    from core.jobs.database import Database
    from core.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def background(
        check: Annotated[bool, typer.Option("--check", help="Only say whether this work is being done.")] = False,
    ) -> None:
        """Send messages, take the stages of dead workers back, and clear away, until told to stop."""
        from core.jobs.database import Database
        from core.settings import load_settings
        from workers.logs import configure_logs

        settings = load_settings()
        configure_logs(sys.stderr)
        database = Database(settings.database)
        try:
            if check:
                _check(database)
            else:
                _run(settings, database)
        finally:
            database.close()


def _run(settings: Settings, database: Database) -> None:
    from workers.app import CeleryPublisher
    from workers.background import Background

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    database.require_current()
    with Background(settings, database, CeleryPublisher(settings)):
        stop.wait()


def _check(database: Database) -> None:
    """For probes: it returns where nothing that is due lies about.

    Raises:
        UsageError: `background_silent`.
    """
    from core.telemetry.statistics import left_undone

    with database.read() as session:
        left = left_undone(session)
    if left:
        raise UsageError(
            "background_silent",
            f"{left} messages or stages of dead workers were left for too long.",
            "See whether `likeness background` runs; its log says why a pass failed.",
        )
