"""`likeness worker`: one worker process for the named queues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError
from core.jobs.kinds import QUEUES

if TYPE_CHECKING:
    from core.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def worker(
        queues: Annotated[str, typer.Option(help="Comma-separated: cpu, train, render.")] = ",".join(QUEUES),
        data: Annotated[Path | None, typer.Option(help="The platform's data folder (LIKENESS_DATA_DIR).")] = None,
        check: Annotated[
            bool, typer.Option("--check", help="Say whether the worker that runs here claims work.")
        ] = False,
    ) -> None:
        """Run queued stages until told to stop; the running stage is checkpointed and handed back."""
        from core.settings import load_settings

        names = parse_queues(queues)
        settings = load_settings(**({"data_dir": data} if data is not None else {}))
        if check:
            _check(settings, names)
            return
        from workers.app import run_worker
        from workers.pipeline import CorePipeline

        run_worker(settings, names, CorePipeline)


def _check(settings: Settings, queues: list[str]) -> None:
    """The liveness probe of a container: exit 1 where work waits and the worker does not ask for it."""
    from core.jobs.database import Database
    from workers.liveness import check_worker, worker_name

    database = Database(settings.database)
    try:
        check_worker(settings, database, worker_name(), queues)
    finally:
        database.close()


def parse_queues(text: str) -> list[str]:
    """The queues of a comma-separated list.

    Raises:
        UsageError: `unknown_queue`.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(QUEUES))
    if unknown or not names:
        raise UsageError("unknown_queue", f"There is no queue {', '.join(unknown) or text!r}.", f"Use {list(QUEUES)}.")
    return names


if __name__ == "__main__":  # how `likeness serve` starts its worker: without importing the other commands
    _app = typer.Typer(add_completion=False)
    register(_app)
    _app()
