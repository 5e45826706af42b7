"""Where the ffmpeg program is, and the words that every call of it begins with. Knows no files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import imageio_ffmpeg

from core.errors import LikenessError
from core.media import fence

COMMON = ("-hide_banner", "-nostdin", "-nostats", "-filter_threads", "2", "-filter_complex_threads", "2")
"""No banner, no reading of the terminal, no progress lines; and no more address space where there are more cores."""


@cache
def ffmpeg_path() -> str:
    """Absolute path of the ffmpeg program that came with the installation.

    Raises:
        LikenessError: `ffmpeg_missing`.
    """
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
