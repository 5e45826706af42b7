"""`likeness crossvalidate`: the validation table of pre-training, over people left out of the corpus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stage_context, stderr
from cli.pretrain import print_corpus


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("crossvalidate", epilog="Example: likeness crossvalidate clips/ -o table --outside others/")(
        crossvalidate
    )


def crossvalidate(
    corpus: Annotated[Path, typer.Argument(help="Folder of clips, as for `likeness pretrain`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the tracks, the rows and the table.")],
    leave_out: Annotated[int, typer.Option("--leave-out", min=1, help="People left out at once.")] = 3,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions of everything.")] = 3,
    outside: Annotated[
        Path | None, typer.Option("--outside", help="Folder of clips of other people, judged by their last 12 s.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=10, help="Steps of each training; default: as `pretrain`.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Trainings at a time.")] = 2,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Judge pre-training by people it has not seen: from scratch, universal alone, with personal fields, with contrast.

    Rows that the output folder holds are kept: a run that was cut off goes on.
    """
    from core.errors import UsageError
    from core.learn.corpus import read_corpus
    from core.learn.crossvalidation import as_markdown, summarise
    from core.learn.crossvalidation import crossvalidate as run
    from core.learn.motion_prior import PriorSchedule
    from core.learn.pretraining import usable_corpus

    for folder in (corpus, *([outside] if outside else [])):
        if not folder.is_dir():
            raise UsageError("file_not_found", f"There is no folder {folder.name}.", "Check the path.")
    output.mkdir(parents=True, exist_ok=True)
    schedule = PriorSchedule()
    schedule = schedule if iterations is None else replace(schedule, iterations=iterations)
    with stage_context() as context:
        people = usable_corpus(corpus, output, context)
        print_corpus(people.report())
        others = read_corpus(outside, output / "outside", context) if outside else None
        summary = summarise(run(people, others, output, schedule, leave_out, seeds, processes, context))
    (output / "table.md").write_text(as_markdown(summary))
    (output / "table.json").write_text(json.dumps(summary, indent=1))
    if json_output:
        print_json(summary)
    else:
        stderr.print(as_markdown(summary))
