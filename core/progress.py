"""What a stage is told from outside: whom to report progress to, and whether to stop.

A stage is a plain function that takes files and a config, writes files, and calls `context.report` and
`context.check` now and then. It must not know whether a terminal, a worker or a test listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from core.errors import CancelledError


def _ignore(stage: str, fraction: float) -> None:
    del stage, fraction


def _never() -> bool:
    return False


@dataclass(frozen=True)
class StageContext:
    """Progress sink and cancel flag of one stage run."""

    on_progress: Callable[[str, float], None] = field(default=_ignore)
    """Called with a stage name (`preprocess`, `face`, ...) and the fraction done, 0..1, a few times a second."""
    is_cancelled: Callable[[], bool] = field(default=_never)
    """Cheap enough to be asked at every iteration."""

    def report(self, stage: str, fraction: float) -> None:
        """Report that `fraction` (0..1, clamped) of `stage` is done."""
        self.on_progress(stage, min(1.0, max(0.0, fraction)))

    def check(self) -> None:
        """Raises:
        CancelledError: the job was cancelled, or this worker lost its lease.
        """
        if self.is_cancelled():
            raise CancelledError

    def within(self, stage: str, start: float, stop: float) -> Callable[[float], None]:
        """What a part of a stage calls with its own share done, 0..1: checks, and reports between `start` and `stop`.

        The function raises CancelledError as `check` does.
        """

        def tick(share: float) -> None:
            self.check()
            self.report(stage, start + (stop - start) * share)

        return tick
