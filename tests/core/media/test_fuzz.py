"""Damaged files: whatever the bytes say, a stable error or pictures, in bounded time and memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import LikenessError
from core.media import decode_audio, decode_frames, probe

from .conftest import Maker

KINDS = ("v.mp4", "v.mkv", "v.avi", "v.ts")
EACH = 8


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
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for k in range(EACH):
        path = tmp_path / f"mutant{k}-{name}"
        path.write_bytes(damage(whole, generator, k % 6))
        begun = time.monotonic()
        try:
            info = probe(path)
            for frame in decode_frames(path, info, crop=None, size=32, count=min(30, info.frame_count)):
                assert frame.shape == (32, 32, 3)
            assert np.isfinite(decode_audio(path, origin_s=info.origin_s)).all()
        except LikenessError as error:
            assert error.hint
            assert error.code.startswith(("media_", "no_")) or error.code == "not_a_video", error.code
        assert time.monotonic() - begun < 20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < max(children, 600_000)  # KiB
