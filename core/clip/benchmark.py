"""How long a clip takes to make, part by part, and the most memory it needs: what `likeness bench preprocess` runs.

Each run is a process of its own, so that its memory and its number of threads are its own too; the process that asks
adds up the memory of that one and of the ffmpeg processes it starts. Knows no table and no command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.clip.build import build_clip
from core.clip.intake import ClipOptions
from core.clip.landmarks import Landmarker
from core.clip.layout import FPS
from core.clip.person import PersonSegmenter
from core.clip.speech import encode_speech
from core.clip.stage_clock import StageClock
from core.errors import LikenessError
from core.media import (
    SPEECH_RATE_HZ,
    VideoWriter,
    decode_audio,
    decode_frames_full,
    find_shots,
    longest_shot,
    probe,
    scaled_size,
)
from core.progress import StageContext

_SAMPLED_EVERY_S = 0.05
_MOST_SIDE = 4096


@dataclass(frozen=True)
class PreprocessResult:
    """One row of `likeness bench preprocess`."""

    video: str
    """The file's name."""
    width: int
    height: int
    """Of its upright pictures."""
    seconds_of_clip: float
    threads: int
    size: int
    """Side of the clip's frames."""
    seconds: float
    """On the clock, from the video to the finished Clip; interpreter and model files were loaded before."""
    cpu_seconds: float
    """Of our process and its ffmpeg."""
    parts: dict[str, float]
    """Seconds on the clock of each part; the speech encoder runs beside the pictures."""
    peak_mb: float
    """Most memory at one moment: our process and its ffmpeg, without pages that they share with others twice."""
    longest_silence_s: float
    """Longest time between two reports of progress (at each of which the cancel flag is looked at)."""

    def as_dict(self) -> dict[str, object]:
        """The row as JSON."""
        return asdict(self)


def bench_preprocess(
    videos: Sequence[Path], seconds: float, size: int, threads: Sequence[int], *, lengthen: bool = False
) -> list[PreprocessResult]:
    """Measure each video with each number of threads.

    Args:
        videos: real footage.
        seconds: of the longest shot to make a clip of.
        size: side of the clip's frames.
        threads: numbers of threads.
        lengthen: where the longest shot is shorter, play it forwards and backwards until it is not, through our own
            encoder: such a film has no cut.

    Raises:
        LikenessError: what `build_clip` raises; `bench_failed` where a run ended otherwise.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="likeness-bench-") as scratch:
        for video in videos:
            source = lengthened(video, Path(scratch), seconds) if lengthen else video
            for count in threads:
                told = _run(source, Path(scratch), seconds, size, count)
                results.append(PreprocessResult(video=video.name, threads=count, size=size, **told))
            if source is not video:
                source.unlink()
    return results


def lengthened(video: Path, folder: Path, seconds: float) -> Path:
    """A film of `seconds` from the longest shot of `video`, played to and fro, its sound looped; made in `folder`.

    Returns `video` where that shot is long enough as it is.
    """
    info = probe(video)
    shot = longest_shot(find_shots(decode_frames_full(video, info, 128)))
    wanted = round(seconds * FPS)
    if shot.count >= wanted:
        return video
    width, height = (side // 2 * 2 for side in scaled_size(info, _MOST_SIDE))
    samples = decode_audio(video, origin_s=info.origin_s)[shot.start * 640 : shot.stop * 640]
    sound = folder / "long.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, SPEECH_RATE_HZ, 0, "NONE", ""))
        file.writeframes((np.resize(samples, wanted * 640) * 32767).astype("<i2").tobytes())
    path = folder / f"long-{video.stem}.mp4"
    written = 0
    with VideoWriter(path, width, height, audio=sound) as writer:
        while written < wanted:
            kept = _chunks(shot.start, shot.stop, backwards=written // shot.count % 2 == 1)
            for start, stop, step in kept:
                pictures = list(decode_frames_full(video, info, _MOST_SIDE, start_frame=start, count=stop - start))[
                    ::step
                ]
                for picture in pictures[: wanted - written]:
                    writer.write(picture[:height, :width])
                    written += 1
    return path


def _chunks(start: int, stop: int, *, backwards: bool) -> list[tuple[int, int, int]]:
    """First frame, frame after the last, and direction, of pieces that fit into memory."""
    pieces = [(first, min(first + FPS, stop)) for first in range(start, stop, FPS)]
    return [(a, b, -1) for a, b in reversed(pieces)] if backwards else [(a, b, 1) for a, b in pieces]


def _run(video: Path, scratch: Path, seconds: float, size: int, threads: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "core.clip.benchmark", str(video), str(scratch / "clip"), str(seconds), str(size)]
    environment = {**os.environ, "LIKENESS_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _memory_mb(process.pid))
            time.sleep(_SAMPLED_EVERY_S)
        said = process.stdout.read() if process.stdout is not None else ""
    if not said:
        raise LikenessError("bench_failed", "The run ended without a result.", "What it wrote to stderr says why.")
    told = json.loads(said)
    if "error" in told:
        raise LikenessError(*told["error"])
    return {**told, "peak_mb": round(peak, 1)}


def _memory_mb(process: int) -> float:
    """Proportional memory of a process and its children, 0 where it has ended."""
    total = 0.0
    try:
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            total += _memory_mb(int(child))
        for task in Path(f"/proc/{process}/task").iterdir():
            if task.name != str(process):
                total += sum(_memory_mb(int(child)) for child in (task / "children").read_text().split())
        status = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return total
    return total + next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Pss:")) / 1024


def _measure(video: Path, folder: Path, seconds: float, size: int) -> dict[str, Any]:
    """Build the clip once in this process, models loaded before."""
    info = probe(video)
    with Landmarker() as landmarker:
        landmarker.detect(np.zeros((64, 64, 3), np.uint8))
    PersonSegmenter().probability(np.zeros((256, 256, 3), np.uint8))
    encode_speech(np.zeros(SPEECH_RATE_HZ, np.float32))
    clock = StageClock()
    reports: list[float] = []

    def report(stage: str, fraction: float) -> None:
        del stage, fraction
        reports.append(time.perf_counter())

    before, begun = os.times(), time.perf_counter()
    clip = build_clip(video, folder, ClipOptions(size=size, seconds=seconds), StageContext(report), clock=clock)
    taken, after = time.perf_counter() - begun, os.times()
    return {
        "width": info.width,
        "height": info.height,
        "seconds_of_clip": round(clip.count / FPS, 2),
        "seconds": round(taken, 2),
        "cpu_seconds": round(sum(after[:4]) - sum(before[:4]), 2),
        "parts": {name: round(value, 2) for name, value in clock.seconds.items()},
        "longest_silence_s": round(float(np.diff(reports).max()), 2),
    }


def main() -> None:
    """`python -m core.clip.benchmark VIDEO FOLDER SECONDS SIZE`: one run, told as JSON; the folder is removed."""
    video, folder, seconds, size = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as made:
        try:
            told = _measure(Path(video), Path(made), float(seconds), int(size))
        except LikenessError as error:
            told = {"error": [error.code, error.message, error.hint]}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
