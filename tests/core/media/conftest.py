"""Videos whose every picture says its own number in black and white blocks, and whose sound clicks at known times."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from core.media.binary import ffmpeg_path

BLOCK = 16
WIDTH, HEIGHT = 12 * BLOCK, 8 * BLOCK
RATE = 48000


def coded(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """A grey picture with `number` as 12 bits in its top row of blocks and a red block at its bottom left."""
    picture = np.full((height, width, 3), 128, np.uint8)
    block = width // 12
    for bit in range(12):
        picture[:block, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 20
    picture[-block:, :block] = (220, 30, 30)
    return picture


def number_of(picture: npt.NDArray[np.uint8]) -> int:
    """The number in an upright picture of any size."""
    block = picture.shape[1] / 12
    levels = [float(picture[int(block / 2), int((bit + 0.5) * block)].mean()) for bit in range(12)]
    assert all(level < 70 or level > 180 for level in levels), levels
    return sum(1 << bit for bit, level in enumerate(levels) if level > 128)


def clicks(seconds: float, times: Iterable[float]) -> npt.NDArray[np.float32]:
    """Near silence with a click of 2 ms at each of `times`, [n] at 48 kHz."""
    samples = np.zeros(round(seconds * RATE), np.float32)
    for time in times:
        samples[round(time * RATE) : round(time * RATE) + 96] = 0.9
    return samples


def click_times(samples: npt.NDArray[np.float32], rate: int) -> list[float]:
    """Seconds at which clicks begin."""
    loud = np.abs(samples) > 0.25
    starts = np.flatnonzero(loud & ~np.concatenate([[False], loud[:-1]]))
    return [start / rate for k, start in enumerate(starts) if k == 0 or start - starts[k - 1] > rate // 50]


def run_ffmpeg(*words: str, data: bytes | None = None) -> None:
    """Run ffmpeg outside the fence: tests make their own media with it."""
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *words], input=data, check=True, timeout=60)


@dataclass(frozen=True)
class Maker:
    """Writes small coded videos into one folder."""

    folder: Path

    def wav(self, name: str, samples: npt.NDArray[np.float32], rate: int = RATE) -> Path:
        path = self.folder / name
        words = ("-f", "f32le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0", "-c:a", "pcm_s16le", str(path))
        run_ffmpeg(*words, data=samples.astype("<f4").tobytes())
        return path

    def video(
        self,
        name: str,
        *output: str,
        frames: int = 50,
        fps: float = 25,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        video_delay_s: float = 0.0,
        audio_delay_s: float = 0.0,
        click_at: tuple[float, ...] | None = (0.5, 1.5),
    ) -> Path:
        """`frames` coded pictures at `fps`; with clicks (seconds after the sound's own start) unless None."""
        path = self.folder / name
        width, height = size
        raw = b"".join(coded(k, width, height).tobytes() for k in range(frames))
        words = ["-itsoffset", str(video_delay_s)] if video_delay_s else []
        words += [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{width}x{height}",
            "-framerate",
            str(fps),
            "-i",
            "pipe:0",
        ]
        if click_at is not None:
            sound = self.wav(f"{name}.wav", clicks(frames / fps, click_at))
            words += ["-itsoffset", str(audio_delay_s)] if audio_delay_s else []
            words += ["-i", str(sound), "-c:a", "aac"]
        words += ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p"]
        words += ["-fps_mode", "passthrough", *output, str(path)]
        run_ffmpeg(*words, data=raw)
        return path


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture(scope="session")
def plain_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 s, 25 fps, clicks at 0.5 and 1.5 s, index in front. Read it only."""
    return Maker(tmp_path_factory.mktemp("plain")).video("plain.mp4", "-movflags", "+faststart", "-g", "25")


@pytest.fixture(scope="session")
def is_running() -> Callable[[int], bool]:
    def running(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    return running
