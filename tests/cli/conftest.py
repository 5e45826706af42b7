"""The command line, run in this process: exit code, stdout, stderr, and what it left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import pytest

from cli.main import main


@dataclass(frozen=True)
class Finished:
    """One call of `likeness`."""

    code: int
    out: str
    err: str
    orphans: list[str]


Run = Callable[..., Finished]


@pytest.fixture
def likeness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `likeness WORDS...`."""

    def run(*words: object) -> Finished:
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        monkeypatch.setattr("sys.argv", ["likeness", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        after = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        seen = capsys.readouterr()
        return Finished(code, seen.out, seen.err, [str(child) for child in after])

    return run
