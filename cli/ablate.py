"""`likeness ablate`: what each part of the method is worth, on clips of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ablate", epilog="Example: likeness ablate ann.mp4 bob.mp4 -o table --seeds 3 --profile draft")(ablate)


def ablate(
    videos: Annotated[list[Path], typer.Argument(help="One clip of each person; its last 12 s are the test.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of clips, avatars, films, rows, the table.")],
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help="full, no-aligner, no-hook, single-branch, no-lids, no-perceptual, scratch; repeatable.",
        ),
    ] = None,
    umf: Annotated[str, typer.Option("--umf", help="Universal motion field: base or a file.")] = "base",
    with_umf: Annotated[
        list[str] | None,
        typer.Option("--with-umf", help="NAME=FILE: a further variant with another universal field."),
    ] = None,
    seconds: Annotated[
        list[float] | None, typer.Option("--seconds", min=3, max=60, help="How much to learn from; repeatable. 5.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="draft, standard or paper.")] = "standard",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions of everything.")] = 3,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Adaptations at a time.")] = 2,
    whole_tracking: Annotated[
        bool,
        typer.Option("--whole-tracking", help="Track the whole recording, as the paper does, not the learned part."),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Adapt every person with one part of the method left out at a time, and measure each (paper, tables 5 and 6).

    Rows that the output folder holds are kept: a run that was cut off goes on.
    """
    from core.errors import UsageError
    from core.evaluate.ablation import NAMES, as_markdown, summarise, variants
    from core.evaluate.ablation import ablate as run

    for path in videos:
        if not path.is_file():
            raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")
    others = {}
    for choice in with_umf or ():
        name, separator, file = choice.partition("=")
        if not (name and separator and file):
            raise UsageError("variant_unknown", f"'{choice}' names no field.", "Write NAME=FILE.")
        others[name] = file
    chosen = variants(variant or list(NAMES), umf, others)
    with stage_context() as context:
        rows = run(
            videos, output, chosen, seconds or [5.0], profile, seeds, processes, context, whole_tracking=whole_tracking
        )
    table = as_markdown(rows)
    (output / "table.md").write_text(table)
    (output / "table.json").write_text(json.dumps(summarise(rows), indent=1))
    if json_output:
        print_json(summarise(rows))
    else:
        stderr.print(table)
