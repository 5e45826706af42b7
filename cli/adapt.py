"""`likeness adapt`: from a clip to a bundle, in this process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr

VideoArgument = Annotated[Path, typer.Argument(help="The clip: one person talking to the camera, with sound.")]
StartOption = Annotated[float, typer.Option("--start", min=0, help="Seconds into the longest shot.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=3, max=60, help="How much of the shot to learn from.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="draft (256x256, fast), standard or paper (512x512).")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adapt", epilog="Example: likeness adapt me.mp4 -o me.likeness --profile draft")(adapt)


def adapt(
    video: VideoArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the bundle goes (NAME.likeness).")],
    start: StartOption = 0.0,
    seconds: SecondsOption = 5.0,
    profile: ProfileOption = "standard",
    umf: Annotated[str, typer.Option("--umf", help="Universal motion field: base, a file, or none.")] = "base",
    device: Annotated[
        str,
        typer.Option("--device", help="What draws: auto (the CPU), cpu, or cuda (gsplat: docs/splatting.md)."),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    workdir: Annotated[
        Path | None, typer.Option("--workdir", help="Keep the work here, so that --resume can go on from it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --workdir.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Learn a person from a few seconds of video; writes a bundle that `likeness render` can make speak."""
    from core import pipeline
    from core.errors import UsageError

    if resume and workdir is None:
        raise UsageError("workdir_missing", "--resume needs --workdir.", "Name the folder of the run to go on with.")
    options = pipeline.AdaptOptions(profile, start, seconds, device, umf, seed)
    folder = workdir or Path(tempfile.mkdtemp(prefix="likeness-"))
    try:
        with stage_context() as context:
            done = pipeline.adapt(video, folder, output, options, context, resume=resume)
    finally:
        if workdir is None:
            shutil.rmtree(folder, ignore_errors=True)
    if json_output:
        print_json(done)
    else:
        stderr.print(f"[bold green]done[/] in {done['seconds_total']:.0f} s: {output}")
