"""Shows a job of the platform to a person: stage, percent, time left, on one bar. It only draws what it is told."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.console import stderr
from likeness_client import Job

LINE_STEP = 0.1
"""Where stderr is not a terminal: a line for each new stage, and for each such step of progress."""


class JobBar:
    """One bar for one job. In a log file, a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description:<22}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=stderr,
        )
        self._task = self._progress.add_task(title, total=1.0, left="")
        self._line: tuple[str, int] | None = None

    def __enter__(self) -> JobBar:
        if stderr.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if stderr.is_terminal:
            self._progress.stop()

    def show(self, job: Job) -> None:
        """Draw the job as it is now."""
        name = _name(job)
        left = "" if job.eta_s is None else f"about {job.eta_s:.0f} s left"
        if stderr.is_terminal:
            description = f"{self._title}: {name}"
            self._progress.update(self._task, completed=job.progress, description=description, left=left)
            return
        line = (name, int(job.progress / LINE_STEP))
        if line != self._line:
            self._line = line
            stderr.print(f"{self._title}: {name} {100 * job.progress:.0f} % {left}".rstrip())


def _name(job: Job) -> str:
    if job.finished:
        return job.state
    if job.queue_position:
        return f"queued, {job.queue_position} before it"
    return job.stage or job.state


class UploadBar:
    """One bar for one file. Nothing where stderr is not a terminal."""

    def __init__(self, title: str) -> None:
        self._progress = Progress(
            TextColumn("[bold]sending {task.description:<22}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=stderr,
        )
        self._task = self._progress.add_task(title, total=1.0)

    def __enter__(self) -> UploadBar:
        if stderr.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if stderr.is_terminal:
            self._progress.stop()

    def show(self, fraction: float) -> None:
        """Draw how much was sent, 0..1."""
        self._progress.update(self._task, completed=fraction)
