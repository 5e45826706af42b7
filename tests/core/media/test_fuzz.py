"""Damaged files: whatever the bytes say, a stable error or pictures, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import Maker

KINDS = ("v.mp4", "v.mkv", "v.avi", "v.ts")
EACH = 8
ROOT = Path(__file__).resolve().parents[3]


def damage(data: bytes, generator: np.random.Generator, kind: int) -> bytes:
    """One of: flipped bytes in the header, anywhere, a hole, a swap, big numbers, a cut."""
    mutant = bytearray(data)
    if kind == 0:
        for place in generator.integers(0, min(len(mutant), 2000), 12):
            mutant[place] = generator.integers(256)
    elif kind == 1:
        for place in generator.integers(0, len(mutant), len(mutant) // 50):
            mutant[place] = generator.integers(256)
    elif kind == 2:
        place = int(generator.integers(100, len(mutant) - 600))
        del mutant[place : place + 500]
    elif kind == 3:
        a, b = sorted(int(place) for place in generator.integers(0, len(mutant) - 300, 2))
        mutant[a : a + 300], mutant[b : b + 300] = mutant[b : b + 300], mutant[a : a + 300]
    elif kind == 4:
        for place in generator.integers(30, len(mutant) - 4, 12):
            mutant[place : place + 4] = b"\xff\xff\xff\xff"
    else:
        del mutant[int(generator.integers(len(mutant))) :]
    return bytes(mutant)


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_end_in_an_error_of_ours_or_in_pictures(maker: Maker, name: str, tmp_path: Path) -> None:
    whole = maker.video(name, frames=30).read_bytes()
    generator = np.random.default_rng(KINDS.index(name))
    folder = tmp_path / "mutants"
    folder.mkdir()
    for k in range(EACH):
        (folder / f"mutant{k}-{name}").write_bytes(damage(whole, generator, k % 6))
    words = [sys.executable, "-m", "tests.core.media.fuzz_child", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 600_000  # KiB
