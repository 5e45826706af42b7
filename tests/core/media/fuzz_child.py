"""Reads every file of a folder as the fuzz test wants it, and prints the peak memory of ffmpeg in KiB.

A process of its own: the peak of a process's children includes its own size when it forked, and a test run is large.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from core.errors import LikenessError
from core.media import decode_audio, decode_frames, probe


def read_all(folder: Path) -> None:
    """Each file ends in pictures or in an error of ours, within 20 seconds."""
    for path in sorted(folder.iterdir()):
        begun = time.monotonic()
        try:
            info = probe(path)
            for frame in decode_frames(path, info, crop=None, size=32, count=min(30, info.frame_count)):
                assert frame.shape == (32, 32, 3)
            assert np.isfinite(decode_audio(path, origin_s=info.origin_s)).all()
        except LikenessError as error:
            assert error.hint, error.code
            assert error.code.startswith(("media_", "no_")) or error.code == "not_a_video", error.code
        assert time.monotonic() - begun < 20, path.name


if __name__ == "__main__":
    read_all(Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
