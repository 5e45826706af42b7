"""`likeness sweep`: clears the object store by hand, or says what would be cleared. The platform does it every hour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stderr


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def sweep(
        data: Annotated[Path | None, typer.Option(help="The platform's data folder (LIKENESS_DATA_DIR).")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, only name the orphans.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    ) -> None:
        """Delete objects that nothing points at, and uploads that were never completed."""
        from core.jobs.database import Database
        from core.jobs.storage_sweep import sweep_storage
        from core.settings import load_settings
        from core.storage import open_store

        settings = load_settings(**({"data_dir": data} if data is not None else {}))
        database = Database(settings.database)
        try:
            swept = sweep_storage(settings, database, open_store(settings), dry_run=dry_run)
        finally:
            database.close()
        orphans = [{"key": found.key, "size": found.size, "age_s": round(found.age_s)} for found in swept.orphans]
        if as_json:
            print_json({"uploads": swept.uploads, "leftovers": swept.leftovers, "orphans": orphans})
            return
        for found in orphans:
            stderr.print(
                f"{found['age_s']:>10} s {found['size']:>12} bytes  {found['key']}", markup=False, soft_wrap=True
            )
        stderr.print(f"{len(orphans)} orphans, {swept.uploads} stale uploads, {swept.leftovers} leftovers")
