"""Where the ffmpeg program is, and the words that every call of it begins with. Knows no files."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from core.errors import LikenessError
from core.media import fence

COMMON = ("-hide_banner", "-nostdin", "-nostats", "-filter_threads", "2", "-filter_complex_threads", "2")
"""No banner, no reading of the terminal, no progress lines; and no more address space where there are more cores."""


@cache
def ffmpeg_path() -> str:
    """Absolute path of the ffmpeg program that came with the installation, or of the one that IMAGEIO_FFMPEG_EXE names.

    Raises:
        LikenessError: `ffmpeg_missing`.
    """
    # The package's own function runs the program once to try it, and where that run is killed it finds none for as
    # long as this process lives: a worker would then fail every job that it claims.
    packaged = sorted((Path(imageio_ffmpeg.__file__).parent / "binaries").glob("ffmpeg-*"))
    if "IMAGEIO_FFMPEG_EXE" not in os.environ and len(packaged) == 1 and os.access(packaged[0], os.X_OK):
        return str(packaged[0].resolve())
    try:
        return str(Path(imageio_ffmpeg.get_ffmpeg_exe()).resolve())
    except RuntimeError as error:
        raise LikenessError(
            "ffmpeg_missing", "No ffmpeg program was found.", "Install the imageio-ffmpeg package for this platform."
        ) from error


def ffmpeg_version() -> str:
    """First line of what the program says about itself, such as `ffmpeg version 9.0.2 ...`."""
    told = fence.run([ffmpeg_path(), "-version"], fence.Limits(wall_s=20, cpu_s=10))
    return told.stdout.decode("utf-8", "replace").split("\n", 1)[0].split(" Copyright", 1)[0]
