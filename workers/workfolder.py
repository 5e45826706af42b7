"""The folder in which the stages of one job work, on this machine's disk: inputs, checkpoints, results.

One process at a time: where an earlier attempt still lives (frozen, and thawed later), the database refuses its
writes, but its hands are still on these files. So the folder is locked, and an attempt that finds it locked takes one
of its own.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(root: Path, job_id: str, attempt: int, segment: int | None = None) -> Iterator[Path]:
    """The job's folder, with what earlier attempts left in it; an empty one where another process holds that.

    Segments of one stage run at the same time: each has a folder of its own.
    """
    base = job_id if segment is None else f"{job_id}.s{segment}"
    for name in (base, f"{base}.a{attempt}"):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield folder
            return
    raise OSError(f"the work folders of {job_id} are all held by other processes")


def job_of(folder: Path) -> str:
    """The job that a work folder belongs to."""
    return folder.name.partition(".")[0]
