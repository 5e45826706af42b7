"""Trainings in processes of their own end with the command that asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from core.learn.kept_rows import read_rows, run_waiting
from core.progress import StageContext


@dataclass(frozen=True)
class Row:
    number: int


def doubled(number: int) -> list[Row]:
    return [Row(2 * number)]


def sleeping(folder: Path) -> list[Row]:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)
    return []


def test_rows_are_kept_as_they_come(tmp_path: Path) -> None:
    seen: list[float] = []
    context = StageContext(on_progress=lambda _, fraction: seen.append(fraction))
    rows = run_waiting(doubled, [1, 2, 3], 1, tmp_path / "rows.jsonl", 2, context, "table")
    assert sorted(row.number for row in rows) == [2, 4, 6]
    assert sorted(row.number for row in read_rows(tmp_path / "rows.jsonl", Row)) == [2, 4, 6]
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_a_killed_command_leaves_nobody_working(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from core.progress import StageContext;"
        "from core.learn.kept_rows import run_waiting;"
        "from tests.core.learn.test_kept_rows import sleeping;"
        f"folder = Path({str(tmp_path)!r});"
        "run_waiting(sleeping, [folder], 0, folder / 'rows.jsonl', 1, StageContext(), 'table')"
    )
    command = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    until = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until and command.poll() is None
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    command.send_signal(signal.SIGKILL)
    command.wait()
    while _runs(worker):
        assert time.monotonic() < until, "the worker goes on without its command"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
