"""Prints the figures of docs/media.md: `python tests/core/media/measure.py VIDEO` from the project's root."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from core.media import (  # noqa: E402
    VideoWriter,
    decode_audio,
    decode_frames,
    decode_frames_full,
    fence,
    ffmpeg_version,
    find_shots,
    probe,
    probe_picture,
)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds, and processor seconds of this process and its children."""
    clock, wall = os.times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - wall, os.times()
    return wall, sum(after[:4]) - sum(clock[:4])


def main(video: Path) -> None:
    print(ffmpeg_version(), "|", platform.machine(), os.cpu_count(), "cores, load", round(os.getloadavg()[0], 1))
    starts = [seconds(lambda: fence.run(["/bin/true"], fence.Limits()))[0] for _ in range(15)]
    print(f"start a fenced process: {1000 * min(starts):.0f} ms best, {1000 * statistics.median(starts):.0f} ms median")
    info = probe(video)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("probe", lambda: probe(video)),
        ("decode_audio", lambda: decode_audio(video, origin_s=info.origin_s)),
        ("decode_frames, 512", lambda: sum(1 for _ in decode_frames(video, info, crop=None, size=512))),
        ("decode_frames_full, 128", lambda: sum(1 for _ in decode_frames_full(video, info, 128))),
        ("the same + find_shots", lambda: find_shots(decode_frames_full(video, info, 128))),
    ]
    for name, work in rows:
        wall, cpu = seconds(work)
        print(f"{name}: {wall:.2f} s wall, {cpu:.2f} s CPU for {info.frame_count} frames")
    frames = list(decode_frames(video, info, crop=None, size=512, count=min(250, info.frame_count)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.mp4"
        for preset in ("ultrafast", "superfast", "veryfast", "medium"):

            def encode(preset: str = preset) -> None:
                with VideoWriter(path, 512, 512, preset=preset, audio=video) as writer:
                    for frame in frames:
                        writer.write(frame)

            wall, cpu = seconds(encode)
            back = decode_frames(path, probe_picture(path), crop=None, size=512)
            error = np.mean([(a.astype(float) - b) ** 2 for a, b in zip(frames[::10], list(back)[::10], strict=True)])
            print(
                f"VideoWriter {preset}: {len(frames) / wall:.0f} fps, {1000 * cpu / len(frames):.1f} ms CPU a frame, "
                f"{path.stat().st_size / 1024:.0f} KiB, PSNR {10 * np.log10(255**2 / error):.1f} dB"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
