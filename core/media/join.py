"""Pieces of one film, each encoded by itself, become one MP4 without being encoded again. Knows no frames' contents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ffmpeg

from core.errors import LikenessError
from core.media import fence
from core.media.encode import mux_command
from core.media.probe import probe_audio

_QUOTE = "'\\''"
_LIMITS = fence.Limits(wall_s=1800, cpu_s=3600, memory_bytes=2 << 30, file_bytes=16 << 30)


def join_films(parts: Sequence[Path], frames: int, output: Path, audio: Path | None) -> None:
    """Put `parts` one after another under one sound.

    Args:
        parts: MP4s that `VideoWriter` wrote with `joinable`, each but the last of a multiple of `GROUP_FRAMES` frames.
        frames: in all of them together; decides the length.
        output: the MP4 to make; appears whole or not at all.
        audio: as for `VideoWriter`.

    Raises:
        InputRefusedError: `audio` is no file that we read.
        LikenessError: `encode_failed`.
    """
    if audio is not None:
        probe_audio(audio)
    partial = output.with_name(output.name + ".partial")
    playlist = output.with_name(output.name + ".parts")
    # Names of our own making; the quoting is the concat demuxer's.
    lines = (f"file '{str(part.resolve()).replace(chr(39), _QUOTE)}'" for part in parts)
    playlist.write_text("ffconcat version 1.0\n" + "\n".join(lines) + "\n")
    picture = ffmpeg.input(f"file:{playlist.resolve()}", format="concat", safe=0)["v:0"]
    try:
        done = fence.run(mux_command(picture, frames, partial.resolve(), audio), _LIMITS)
        if done.returncode != 0:
            said = " ".join(done.stderr.strip().splitlines()[-1:])
            raise LikenessError("encode_failed", f"The parts could not be joined. {said}", "Check the free disk space.")
        partial.replace(output)
    except fence.FenceError as error:
        raise LikenessError(
            "encode_failed", f"The parts could not be joined ({error.reason}).", "Check the free disk space."
        ) from error
    finally:
        playlist.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
