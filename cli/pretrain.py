"""`likeness pretrain`: a folder of clips to one universal motion field, in this process."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain", epilog="Example: likeness pretrain clips/ -o mine.safetensors --workdir run --resume")(
        pretrain
    )


def pretrain(
    corpus: Annotated[Path, typer.Argument(help="Folder of clips; ID.mp4 and IDb.mp4 are one person.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the field goes (NAME.safetensors).")],
    iterations: Annotated[int, typer.Option("--iterations", min=10, help="Steps of the regression.")] = 1500,
    validate: Annotated[
        Path | None, typer.Option("--validate", help="Folder of clips of other people to judge the field by.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    workdir: Annotated[
        Path | None, typer.Option("--workdir", help="Keep the tracked clips here, so that --resume can use them.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Use the tracked clips in --workdir.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Learn how faces move with speech, from many people: the field that `adapt` starts with."""
    from core.errors import UsageError
    from core.learn.motion_prior import PriorSchedule
    from core.learn.pretraining import pretrain as run

    if not corpus.is_dir():
        raise UsageError("file_not_found", f"There is no folder {corpus.name}.", "Check the path.")
    if workdir is not None and (workdir / "tracks").exists() and not resume:
        raise UsageError("workdir_in_use", "The work folder holds an earlier run.", "Add --resume, or name another.")
    folder = workdir or Path(tempfile.mkdtemp(prefix="likeness-pretrain-"))
    try:
        with stage_context() as context:
            schedule = replace(PriorSchedule(), iterations=iterations)
            done = run(corpus, output, folder, schedule, seed, context, validate)
    finally:
        if workdir is None:
            shutil.rmtree(folder, ignore_errors=True)
    if json_output:
        print_json(done)
    else:
        stderr.print(f"[bold green]done[/]: {output}, from {done['clips']} clips")
