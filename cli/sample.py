"""`likeness sample`: the talking clip that the project makes itself, with its truth and two speeches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sample", epilog="Example: likeness sample build/sample")(sample)


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to put it; a finished sample there is kept.")],
    seconds: Annotated[float, typer.Option("--seconds", min=2.0, max=120.0, help="Length of the clip.")] = 14.0,
    size: Annotated[int, typer.Option("--size", min=128, max=512, help="Side of the frames in pixels.")] = 512,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed moves and speaks differently.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Make a talking clip from a public-domain portrait: a video to try everything on, without anyone's recording."""
    from core.sample import generate_sample

    with stage_context() as context:

        def report(fraction: float) -> None:
            context.check()
            context.report("sample", fraction)

        made = generate_sample(folder, seconds=seconds, size=size - size % 2, seed=seed, report=report)
    files = {
        "video": str(made.video),
        "truth": str(made.truth),
        "speech": [str(made.speech_a), str(made.speech_b)],
    }
    if json_output:
        print_json(files)
        return
    stderr.print(f"[bold green]done[/] {made.video}; speeches: {made.speech_a.name}, {made.speech_b.name}")
