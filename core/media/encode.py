"""From rendered frames to one MP4 that plays in a browser, streamed to ffmpeg.

H.264 yuv420p tagged BT.709, AAC, index at the front. The pictures decide the length: sound is cut, or goes on as
silence, to match. The file appears under its name only when it is whole. Must not know what the pictures show.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np
import numpy.typing as npt

from core.errors import LikenessError, UsageError
from core.media import fence
from core.media.binary import COMMON, ffmpeg_path
from core.media.probe import FPS, input_name, input_options, probe_audio
from core.media.sniff import sniff

AUDIO_RATE_HZ = 48000
PRESET = "superfast"
GROUP_FRAMES = 2 * FPS
"""Frames from one key frame to the next."""
_THREADS = min(8, os.cpu_count() or 1)
"""Of x264; its own choice takes more address space than the fence gives on machines with very many cores."""
_FIXED_GROUPS = f"keyint={GROUP_FRAMES}:min-keyint={GROUP_FRAMES}:scenecut=0:open-gop=0"
"""For x264: closed groups of one length. With a constant quantiser and one thread (whose number changes its choices)
a group's pictures then depend on nothing outside it; constant rate factor remembers how hard earlier frames were."""
_LIMITS = fence.Limits(wall_s=900, cpu_s=7200, memory_bytes=3 << 30, file_bytes=8 << 30)


class VideoWriter:
    """Writes frames as they come; use as a context manager.

    Leaving the `with` block finishes the file and gives it its name; an exception inside removes what was written.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        fps: int = FPS,
        crf: int = 18,
        preset: str = PRESET,
        audio: Path | None = None,
        audio_start_s: float = 0.0,
        joinable: bool = False,
    ) -> None:
        """Prepare; nothing runs before the `with` block.

        Args:
            path: the MP4 to write; its folder must exist.
            width: of the frames; even, as H.264 4:2:0 needs.
            height: of the frames; even.
            fps: frames a second.
            crf: x264 quality, 0 (lossless) to 51; with `joinable`, its constant quantiser.
            preset: x264 speed; docs/media.md has figures.
            audio: a sound or video file whose first sound stream is muxed; None for a silent file without sound track.
            audio_start_s: where in that sound the first frame is, counted from its first sample.
            joinable: encode each `GROUP_FRAMES` frames without a memory of those before, so that a film cut at such a
                border and encoded in pieces shows the very same pictures as one encoded whole (`core.media.join`).

        Raises:
            UsageError: `frame_size_odd`, `file_not_found`.
            InputRefusedError: `audio` is no file that we read.
        """
        if width % 2 or height % 2 or width < 2 or height < 2:
            raise UsageError("frame_size_odd", f"{width}x{height} can't be encoded.", "Use an even width and height.")
        self._path = path.resolve()
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._silent = self._path.with_name(self._path.name + ".silent.partial")
        self._shape = (height, width, 3)
        self._fps = fps
        self._audio = audio
        self._audio_start_s = audio_start_s
        if audio is not None:
            probe_audio(audio)
        self._command = _encode_command(self._silent, width, height, fps, crf, preset, joinable)
        self._process: fence.FencedProcess | None = None
        self._stack = ExitStack()
        self._count = 0

    @property
    def count(self) -> int:
        """Number of frames written so far."""
        return self._count

    def __enter__(self) -> VideoWriter:
        if not self._path.parent.is_dir():
            raise UsageError("folder_not_found", "The folder of the output does not exist.", "Create it first.")
        self._process = self._stack.enter_context(fence.started(self._command, _LIMITS, feeds=True))
        return self

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Append one frame, uint8 [height, width, 3] sRGB.

        Raises:
            LikenessError: `encode_failed`, with what the encoder said; `process_killed` where something killed it.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.dtype} {frame.shape}, expected uint8 {self._shape}")
        process = self._running()
        try:
            process.write(np.ascontiguousarray(frame).data.cast("B"))
        except (BrokenPipeError, fence.FenceError) as error:
            raise self._failed() from error
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._stack.close()
            self._partial.unlink(missing_ok=True)
            self._silent.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._count == 0:
            raise UsageError("no_frames", "No frame was written.", "A video needs at least one frame.")
        try:
            if self._running().finish() != 0:
                raise self._failed()
            done = fence.run(self._mux_command(), _LIMITS)
        except fence.FenceError as error:
            raise self._failed() from error
        if done.returncode != 0:
            raise _encode_failed(done.stderr)
        self._partial.replace(self._path)

    def _mux_command(self) -> list[str]:
        picture = ffmpeg.input(f"file:{self._silent}")["v:0"]
        return mux_command(picture, self._count, self._partial, self._audio, self._audio_start_s, fps=self._fps)

    def _failed(self) -> LikenessError:
        process = self._running()
        with suppress(fence.FenceError):
            process.finish()
        return _encode_failed(process.stderr)

    def _running(self) -> fence.FencedProcess:
        if self._process is None:
            raise RuntimeError("a VideoWriter works inside its `with` block")
        return self._process


def mux_command(
    picture: Any, frames: int, output: Path, audio: Path | None, audio_start_s: float = 0.0, *, fps: int = FPS
) -> list[str]:
    """The command that joins finished pictures with exactly as much sound, and puts the index in front.

    Args:
        picture: an ffmpeg video stream of `frames` frames, copied as it is.
        frames: decides the length.
        output: the MP4 to write.
        audio: as for `VideoWriter`.
        audio_start_s: as for `VideoWriter`.
        fps: frames a second.
    """
    streams = [picture]
    options: dict[str, object] = {"format": "mp4", "vcodec": "copy", "movflags": "+faststart", "map_metadata": -1}
    if audio is not None:
        start = round(audio_start_s * AUDIO_RATE_HZ)
        length = round(frames * AUDIO_RATE_HZ / fps)
        sound = ffmpeg.input(input_name(audio), **input_options(sniff(audio)))["a:0"]
        sound = sound.filter("asetpts", "PTS-STARTPTS").filter("aresample", AUDIO_RATE_HZ, **{"async": 1})
        sound = sound.filter("atrim", start_sample=start, end_sample=start + length)
        sound = sound.filter("asetpts", "PTS-STARTPTS").filter("apad", whole_len=length)
        streams.append(sound)
        options |= {"acodec": "aac", "audio_bitrate": "160k"}
    made = ffmpeg.output(*streams, f"file:{output}", **options).overwrite_output()
    return [ffmpeg_path(), *COMMON, "-loglevel", "error", *made.get_args()]


def _encode_failed(stderr: str) -> LikenessError:
    said = " ".join(stderr.strip().splitlines()[-1:])
    return LikenessError("encode_failed", f"The video could not be written. {said}", "Check the free disk space.")


def _encode_command(
    silent: Path, width: int, height: int, fps: int, crf: int, preset: str, joinable: bool
) -> list[str]:
    source = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=fps)
    picture = (
        source.video.filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd")
        .filter("format", "yuv420p")
        .filter("setparams", range="tv", color_primaries="bt709", color_trc="bt709", colorspace="bt709")
    )
    options: dict[str, object] = {"crf": crf, "threads": _THREADS}
    if joinable:
        options = {"qp": crf, "threads": 1, "x264-params": _FIXED_GROUPS}
    output = ffmpeg.output(
        picture, f"file:{silent}", format="mp4", vcodec="libx264", preset=preset, g=GROUP_FRAMES, **options
    ).overwrite_output()
    words = (word for word in COMMON if word != "-nostdin")
    return [ffmpeg_path(), *words, "-loglevel", "error", *output.get_args()]
