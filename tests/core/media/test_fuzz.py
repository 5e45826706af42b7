"""Damaged films: whatever the bytes say, a stable error or pictures, in bounded time and memory.

A few of those that `python -m tests.core.media.fuzz` reads by the hundred.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .fuzz import MOST_MB, ROOT, Outcome, fuzz, report
from .mutants import FORMATS, mutant

COUNT = 24


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return fuzz(COUNT, seed=7, processes=2)


def test_damaged_films_end_in_an_error_of_ours_or_in_pictures(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == COUNT
    assert [one for one in outcomes if one.violation] == []
    assert max(one.peak_mb for one in outcomes) < MOST_MB
    assert {one.ended for one in outcomes} > {"read"}, "some are whole enough, some are not"


def test_a_violation_is_told_and_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    bad = Outcome("0001-cut-h264.mp4", "ValueError: no", 1.0, 0.5, 120.0, violation=True)
    assert not report([bad])
    assert "0001-cut-h264.mp4: ValueError: no" in capsys.readouterr().out


def test_the_reader_tells_what_a_film_ended_in(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.core.media.fuzz", "--child"]
    done = subprocess.run(
        words, input=f"{tmp_path}/none\n", capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert '"violation": false' in done.stdout and "file_not_found" in done.stdout


def test_the_same_number_is_the_same_film() -> None:
    generator = np.random.default_rng(0)
    films = {name: generator.bytes(5000) + b"moov avih G \x44\x89" for name in FORMATS}
    assert mutant(films, 0, 17) == mutant(films, 0, 17)
    assert mutant(films, 0, 17)[1] != mutant(films, 1, 17)[1]
    names = {mutant(films, 0, number)[0].split("-", 2)[2] for number in range(len(FORMATS))}
    assert names == set(FORMATS), "formats take turns"
