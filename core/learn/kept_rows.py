"""Many independent trainings over a few processes, each leaving rows in one file: a run that was cut off goes on.

Knows nothing of what is trained.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

from core.progress import StageContext

JobT = TypeVar("JobT")
RowT = TypeVar("RowT", bound=Any)
"""A flat dataclass."""


def read_rows(path: Path, kind: type[RowT]) -> list[RowT]:
    """The rows that earlier runs kept; none where there is no file."""
    return [kind(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def run_waiting(
    work: Callable[[JobT], list[RowT]],
    waiting: Sequence[JobT],
    done: int,
    path: Path,
    processes: int,
    context: StageContext,
    stage: str,
) -> list[RowT]:
    """Do the jobs that are left, and add the rows of each to `path` as soon as it is finished.

    Args:
        work: a module's own function, run in processes that know nothing but the job.
        waiting: jobs to do.
        done: how many of the same table were done before, for the progress.
        path: the file of rows.
        processes: jobs at a time.
        context: progress as `stage`, and cancelling.
        stage: see there.
    """
    rows: list[RowT] = []
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_the_caller) as pool:
        started = [pool.submit(work, job) for job in waiting]
        for number, future in enumerate(as_completed(started)):
            context.report(stage, (done + number) / (done + len(waiting)))
            if context.is_cancelled():
                pool.shutdown(cancel_futures=True)
                context.check()
            rows += future.result()
            with path.open("a") as file:
                file.writelines(json.dumps(asdict(row)) + "\n" for row in future.result())
    context.report(stage, 1.0)
    return rows


def _end_with_the_caller() -> None:
    """End this process when the one that started it is gone, killed or not: nobody would read what it finds."""
    caller = parent_process()
    if caller is None:
        return

    def watch() -> None:
        wait([caller.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="caller", daemon=True).start()
