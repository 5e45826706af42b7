"""`likeness pretrain`: a folder of clips to one universal motion field, in this process or in several (`torchrun`)."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr
from core.progress import StageContext


class Part(StrEnum):
    """What pre-training can do without."""

    PERSONAL = "personal"
    """Everyone's own field (paper, equation 5), and with it the contrast."""
    CONTRAST = "contrast"
    """The negative contrast (equations 6-7)."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain", epilog="Example: likeness pretrain clips/ -o mine.safetensors --workdir run --resume")(
        pretrain
    )


def pretrain(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of clips; ID.mp4 and IDb.mp4, or all files of a folder ID, are one person.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the field goes (NAME.safetensors).")],
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=10, help="Steps of the regression; default: as validated.")
    ] = None,
    face_iterations: Annotated[
        int | None,
        typer.Option("--face-iterations", min=0, help="Photometric steps of the faces; default: as validated."),
    ] = None,
    mouth_iterations: Annotated[
        int | None, typer.Option("--mouth-iterations", min=0, help="Photometric steps of the mouths.")
    ] = None,
    landmarks_only: Annotated[
        bool, typer.Option("--landmarks-only", help="No photometric stages: minutes, and no mouth field.")
    ] = False,
    without: Annotated[
        list[Part] | None, typer.Option("--without", help="Leave a part out, to see what it is worth; repeatable.")
    ] = None,
    validate: Annotated[
        Path | None, typer.Option("--validate", help="Folder of clips of other people to judge the field by.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    workdir: Annotated[
        Path | None, typer.Option("--workdir", help="Keep tracks, pictures, checkpoints and curves here, for --resume.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what --workdir holds.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Learn how faces move with speech, from many people: the field that `adapt` starts with."""
    from core.errors import UsageError
    from core.learn.motion_prior import PriorSchedule
    from core.learn.photometric import PhotometricSchedule
    from core.learn.pretraining import pretrain as run
    from core.learn.together import joined
    from core.splat.torch_threads import single_torch_thread

    if not corpus.is_dir():
        raise UsageError("file_not_found", f"There is no folder {corpus.name}.", "Check the path.")
    if workdir is not None and (workdir / "tracks").exists() and not resume:
        raise UsageError("workdir_in_use", "The work folder holds an earlier run.", "Add --resume, or name another.")
    schedule, photometric = PriorSchedule(), PhotometricSchedule()
    schedule = schedule if iterations is None else replace(schedule, iterations=iterations)
    photometric = photometric if face_iterations is None else replace(photometric, face=face_iterations)
    photometric = photometric if mouth_iterations is None else replace(photometric, mouth=mouth_iterations)
    if Part.PERSONAL in (without or ()):
        schedule, photometric = replace(schedule, personal=False), replace(photometric, personal=False)
    if Part.CONTRAST in (without or ()):
        schedule, photometric = replace(schedule, contrast=0.0), replace(photometric, contrast=0.0)
    with joined() as together, stage_context() as context, single_torch_thread():
        if together.size > 1 and workdir is None:
            raise UsageError("workdir_missing", "Several processes share a work folder.", "Name it with --workdir.")
        folder = workdir or Path(tempfile.mkdtemp(prefix="likeness-pretrain-"))
        quiet = StageContext(is_cancelled=context.is_cancelled)
        try:
            done = run(
                corpus, output, folder, schedule, seed, context if together.rank == 0 else quiet, validate,
                announce=print_corpus, together=together, photometric=None if landmarks_only else photometric,
            )  # fmt: skip
        finally:
            if workdir is None:
                shutil.rmtree(folder, ignore_errors=True)
    if together.rank > 0:
        return
    if json_output:
        print_json(done)
    else:
        rates = done["iterations_per_s"]
        if isinstance(rates, dict):
            stderr.print(", ".join(f"{stage}: {rate} iterations/s" for stage, rate in rates.items() if rate))
        stderr.print(f"[bold green]done[/]: {output}, from {done['clips']} clips")


def print_corpus(report: dict[str, object]) -> None:
    """Who is in the corpus, and which clips were refused and why."""
    people, refused = report["identities"], report["refused"]
    if not isinstance(people, dict) or not isinstance(refused, dict):
        raise TypeError("not a corpus report")
    stderr.print(f"[bold]{report['clips']} clips of {len(people)} people[/]")
    for name, person in people.items():
        lags = ", ".join(f"{lag:+d}" for lag in person["lags"])
        stderr.print(
            f"  {name:>12}  {person['seconds']:7.1f} s, {person['spoken_seconds']:7.1f} s of speech; "
            f"{len(person['clips'])} clips, lag {lags} frames"
        )
    for clip, code in refused.items():
        stderr.print(f"  [yellow]refused[/] {clip}: {code} (docs/errors.md)")
