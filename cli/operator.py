"""How the operator's commands reach the platform's database: by the settings, as `likeness serve` and the API do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from core.jobs.database import Database
    from core.settings import Settings

DataOption = Annotated[Path | None, typer.Option("--data", help="The platform's data folder (LIKENESS_DATA_DIR).")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@contextmanager
def opened(data: Path | None) -> Iterator[tuple[Settings, Database]]:
    """The settings and the database inside the block; its schema must be there, whoever migrated it."""
    from core.jobs.database import Database
    from core.settings import load_settings

    settings = load_settings(**({"data_dir": data} if data is not None else {}))
    database = Database(settings.database)
    try:
        database.require_current()
        yield settings, database
    finally:
        database.close()
