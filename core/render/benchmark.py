"""How many talking frames a second: both branches, motion fields and composition, without and with the video encoder.

Knows the clock and a made-up or a given avatar; prints nothing. Measured is what `likeness render` runs.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.avatar import Avatar, FaceField, Gaussians, MouthField, Synthesiser
from core.camera import Camera
from core.media.encode import VideoWriter
from core.render.hearing import DrivingSpeech
from core.render.scene import Look, open_scene
from core.render.streaming import FrameStream
from core.render.synthesis import Frame, Motion, Stopwatch, synthesise
from core.splat import backend_name, library
from core.splat.torch_threads import single_torch_thread

FACE_GAUSSIANS, MOUTH_GAUSSIANS = 9_000, 500
"""What the standard profile ended with on a real clip (id03: 8,617 and 449), rounded up."""
_WARM_UP = 5


@dataclass(frozen=True)
class RenderResult:
    """One row of `likeness bench render`."""

    backend: str
    threads: int
    """Of the synthesiser; the encoder's process has its own."""
    encoder: bool
    """Whether the frames were also encoded into an MP4."""
    size: int
    gaussians: int
    frames: int
    ms_per_frame: float
    """Wall time from the first frame to the last (with the encoder: to the finished file), divided by the frames."""
    fps: float

    def as_dict(self) -> dict[str, object]:
        """The row as JSON."""
        return asdict(self)


Frames = Callable[[DrivingSpeech], Iterator[Frame]]


def bench_render(bundle: Path | None, size: int, frames: int, threads: list[int]) -> list[RenderResult]:
    """Frames a second for each number of threads, without and with the encoder.

    Args:
        bundle: the avatar to draw; None makes one up: a head of `FACE_GAUSSIANS` and `MOUTH_GAUSSIANS`, untrained
            fields of the standard widths, and a head that turns.
        size: side of the frames in pixels.
        frames: how many to draw, after a few that are not timed.
        threads: numbers of threads to measure with.

    Raises:
        BundleError, UsageError: as `core.render.scene.open_scene`.
    """
    results = []
    with _source(bundle, size) as (gaussians, draw), single_torch_thread():
        try:
            for count in threads:
                library.set_threads(count)
                for _ in draw(_speech(_WARM_UP)):
                    pass
                for encoder in (False, True):
                    seconds = _seconds(draw, frames, size, encoder)
                    results.append(
                        RenderResult(
                            backend_name(),
                            count,
                            encoder,
                            size,
                            gaussians,
                            frames,
                            1e3 * seconds / frames,
                            frames / seconds,
                        )
                    )
        finally:
            library.set_threads(0)
    return results


def _seconds(draw: Frames, frames: int, size: int, encoder: bool) -> float:
    speech = _speech(frames)
    if not encoder:
        begin = time.perf_counter()
        for _ in draw(speech):
            pass
        return time.perf_counter() - begin
    with tempfile.TemporaryDirectory(prefix="likeness-bench-") as folder:
        begin = time.perf_counter()
        writer = VideoWriter(Path(folder) / "frames.mp4", size, size, joinable=True)
        with writer, FrameStream(writer) as stream:
            for frame in draw(speech):
                stream.write(frame)
        return time.perf_counter() - begin


@contextmanager
def _source(bundle: Path | None, size: int) -> Iterator[tuple[int, Frames]]:
    if bundle is not None:
        with open_scene(bundle, Look(size, label=False)) as scene:
            avatar = scene.synthesiser.avatar
            count = avatar.face.count + avatar.mouth.count
            yield count, lambda speech: scene.frames(speech, 0, speech.frames, Stopwatch())
        return
    synthesiser = Synthesiser(made_up_avatar(), Camera.centred(2.2 * size, size))
    motion, behind = _turning_head(), _backdrop(size)

    def draw(speech: DrivingSpeech) -> Iterator[Frame]:
        order = np.arange(speech.frames) % len(motion.rotations)
        return synthesise(synthesiser, motion, order, speech.windows, lambda _: behind, Stopwatch())

    yield FACE_GAUSSIANS + MOUTH_GAUSSIANS, draw


def made_up_avatar(face: int = FACE_GAUSSIANS, mouth: int = MOUTH_GAUSSIANS) -> Avatar:
    """A head-sized shell of coloured Gaussians with a mouth inside it, and untrained motion fields.

    As in avatars that were measured, the face's field turns and scales nothing and moves six tenths of the Gaussians.
    """
    generator = torch.Generator().manual_seed(0)

    def branch(count: int, axes: tuple[float, float, float], centre: tuple[float, float, float]) -> Gaussians:
        points = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
        points = points * torch.tensor(axes) * (1 + 0.02 * torch.randn(count, 1, generator=generator))
        area = 4 * math.pi * (axes[0] * axes[1] * axes[2]) ** (2 / 3)
        spacing = torch.full((count,), 0.7 * math.sqrt(area / count))
        colors = torch.rand(count, 3, generator=generator)
        return Gaussians.at(points + torch.tensor(centre), colors, spacing, 0.7).frozen()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fields = FaceField(aligned=True).requires_grad_(False), MouthField().requires_grad_(False)
    fields[0].layers[-1][3:] = 0
    face_part = branch(face, (0.075, 0.1, 0.085), (0.0, 0.0, 0.0))
    mouth_part = branch(mouth, (0.03, 0.02, 0.02), (0.0, 0.05, -0.06))
    return Avatar(face_part, fields[0], mouth_part, fields[1], moving=6 * face // 10)


def _turning_head(frames: int = 125) -> Motion:
    angles = 0.25 * np.sin(np.arange(frames) / 12)
    rotations = np.zeros((frames, 3, 3))
    rotations[:, 1, 1] = 1
    rotations[:, 0, 0] = rotations[:, 2, 2] = np.cos(angles)
    rotations[:, 0, 2], rotations[:, 2, 0] = np.sin(angles), -np.sin(angles)
    expression = np.random.default_rng(0).random((frames, 6)).astype(np.float32)
    return Motion(rotations, np.tile([0.0, 0.0, 0.7], (frames, 1)), expression)


def _backdrop(size: int) -> Frame:
    ramp = np.linspace(40, 200, size)
    return np.stack([np.broadcast_to(ramp, (size, size)), np.broadcast_to(ramp[:, None], (size, size))] * 2, -1)[
        ..., :3
    ].astype(np.uint8)


def _speech(frames: int) -> DrivingSpeech:
    features: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(2 * frames + 100, 64)).astype(np.float32)
    return DrivingSpeech(features, 50, frames, np.ones(frames, np.float32))
