"""What a stage may use before it is ended: memory that its process holds, and time that it computes.

A limit on address space would be too blunt: torch reserves far more than it holds. So the memory of its own (anonymous
and shared; files that are merely mapped can be dropped by the kernel) is looked at a few times a second.
"""

from __future__ import annotations

import time
from pathlib import Path

from core.jobs.steps import JobError

OUT_OF_MEMORY = JobError(
    "out_of_memory",
    "The stage took more memory than a worker may use.",
    "Retry the job; if it ends like this again, use a shorter clip or a smaller size.",
    retryable=True,
)
CPU_TIME_EXCEEDED = JobError(
    "cpu_time_exceeded",
    "The stage computed for longer than a worker may.",
    "Use a shorter clip or a smaller profile, or ask the operator for more time.",
)


class Guard:
    """The limits of one stage run, from now on."""

    def __init__(self, memory_mb: int, cpu_seconds: float) -> None:
        """Args:
        memory_mb: of this process, 0 for no limit.
        cpu_seconds: of all its threads from now on, 0 for no limit.
        """
        self._memory_bytes = memory_mb << 20
        self._cpu_seconds = cpu_seconds
        self._began = time.process_time()

    def exceeded(self) -> JobError | None:
        """Why the stage must end, or None."""
        if self._memory_bytes and held_bytes() > self._memory_bytes:
            return OUT_OF_MEMORY
        if self._cpu_seconds and time.process_time() - self._began > self._cpu_seconds:
            return CPU_TIME_EXCEEDED
        return None


def held_bytes() -> int:
    """Memory that this process holds and that no file backs; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    told = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return sum(int(value.split()[0]) << 10 for value in told.values())
