"""`likeness evaluate`: an avatar against frames of its recording that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", epilog="Example: likeness evaluate me.likeness me.mp4 --json")(evaluate)


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="The avatar (NAME.likeness).")],
    video: Annotated[Path, typer.Argument(help="The recording it was learned from.")],
    frames: Annotated[str, typer.Option("--frames", help="Held-out frames: last:N of the longest shot.")] = "last:301",
    side_by_side: Annotated[
        Path | None, typer.Option("--side-by-side", help="Also write recorded | rendered as a video.")
    ] = None,
    speech: Annotated[
        list[Path] | None,
        typer.Option("--speech", help="Also let the avatar say this recording, and measure that; may be repeated."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure picture and lips on held-out frames (docs/metrics.md defines every figure)."""
    from core.errors import UsageError
    from core.evaluate import evaluate as measure

    for path in (bundle, video, *(speech or ())):
        if not path.is_file():
            raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")
    with stage_context() as context:
        found = measure(
            bundle, video, frames=frames, side_by_side=side_by_side, speech=tuple(speech or ()), context=context
        )
    if json_output:
        print_json(found)
        return
    for name, value in found.items():
        stderr.print(f"{name:>18}  {value}")
