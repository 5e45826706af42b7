"""How the command line talks to people: progress and errors on stderr, one JSON object on stdout with --json.

Exit codes (DESIGN.md, section 3): 0 done, 2 wrong usage, 3 the input was refused, 1 anything else.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.errors import BundleError, CancelledError, InputRefusedError, LikenessError, UsageError
from core.progress import StageContext

stderr = Console(stderr=True, highlight=False)


def exit_code(error: LikenessError) -> int:
    """The exit code that stands for this kind of failure."""
    if isinstance(error, UsageError):
        return 2
    if isinstance(error, InputRefusedError | BundleError):
        return 3
    if isinstance(error, CancelledError):
        return 130
    return 1


def print_error(error: LikenessError) -> None:
    """The message, its stable code and the hint, for a person."""
    stderr.print(f"[bold red]error[/] [bold]{error.code}[/]: {error.message}", soft_wrap=True)
    if error.hint:
        stderr.print(f"  hint: {error.hint}", soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else there."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


class StageBars:
    """A progress bar for each stage as it comes, with elapsed time and ETA. Silent where stderr is not a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description:<11}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=stderr,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, int] = {}

    def __enter__(self) -> StageBars:
        if stderr.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if stderr.is_terminal:
            self._progress.stop()

    def show(self, stage: str, fraction: float) -> None:
        """Move the bar of `stage` to `fraction` (0..1); in a log file, a line at each quarter."""
        if not stderr.is_terminal:
            quarter = int(fraction * 4)
            if self._last_line.get(stage, -1) < quarter:
                self._last_line[stage] = quarter
                stderr.print(f"{stage} {100 * fraction:.0f} %")
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=1.0)
        self._progress.update(self._tasks[stage], completed=fraction)


@contextmanager
def stage_context() -> Iterator[StageContext]:
    """A `StageContext` that draws bars and turns the first Ctrl-C into a clean cancel (the second one kills)."""
    stop = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def interrupt(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)
        stderr.print("stopping after the current step; again to stop at once")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)
    try:
        with StageBars() as bars:
            yield StageContext(on_progress=bars.show, is_cancelled=stop.is_set)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, previous)
