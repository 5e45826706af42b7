"""`likeness render`: an avatar and one or more speeches to videos, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("render", epilog="Example: likeness render me.likeness --audio a.wav --audio b.mp3 -o videos/")(render)


def render(
    bundle: Annotated[Path, typer.Argument(help="The avatar (NAME.likeness).")],
    audio: Annotated[list[Path], typer.Option("--audio", help="Speech in any common audio format; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An .mp4 for one speech, a folder for several.")],
    size: Annotated[int | None, typer.Option("--size", min=64, max=2048, help="Side of the video in pixels.")] = None,
    background: Annotated[
        str | None, typer.Option("--background", help="A colour (#rrggbb) or picture in place of the recorded one.")
    ] = None,
    label: Annotated[bool, typer.Option("--label/--no-label", help="Mark the video as AI-generated.")] = True,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """Make the avatar speak: one MP4 for each audio file."""
    from core import pipeline
    from core.errors import UsageError

    several = len(audio) > 1
    if several and output.suffix == ".mp4":
        raise UsageError("output_not_a_folder", "Several speeches need a folder.", "Give -o a folder name.")
    single = output.suffix == ".mp4"
    options = pipeline.RenderOptions(size=size, background=background, label=label)
    done = []
    with stage_context() as context:
        for speech in audio:
            target = output if single else output / f"{speech.stem}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            done.append(pipeline.render(bundle, speech, target, options, context))
    if json_output:
        print_json(done)
        return
    for item in done:
        stderr.print(f"[bold green]done[/] {item['output']}: {item['frames']} frames, {item['fps_total']:.0f} FPS")
