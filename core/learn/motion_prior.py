"""Pre-training of the universal face field by regression onto tracked motion, without rendering.

The mesh's displacements of many people, seen in each one's own head space, are what a face does whoever it is: the
identity-free half of InsTaG (paper section 3.2) with landmarks in the place of pictures. The feasibility file measured
that a minute of this generalises to new people as well as ten minutes of photometric pre-training. Rotation and scale
answers see no target here and are zeroed. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from core.avatar import FaceField
from core.avatar.motion import translations
from core.camera import Camera
from core.clip.canonical import LIPS_INNER, LIPS_OUTER
from core.learn.optimise import FieldAdamW
from core.progress import StageContext

UPPER_LIP = (0, 11, 12, 13, 37, 267, 72, 302)
LOWER_LIP = (14, 15, 16, 17, 84, 314, 85, 315)


@dataclass(frozen=True)
class MotionTrack:
    """What one clip teaches about motion."""

    identity: str
    windows: Tensor
    """[T, 8, 16, 64] reduced speech, lag corrected."""
    expression: Tensor
    """[T, 6]"""
    rotations: Tensor
    """[T, 3, 3] head space -> camera space."""
    displacement: Tensor
    """[T, 468, 3] metres in head space: mesh vertices against the clip's own mean; none along the line of sight."""
    opening: npt.NDArray[np.float64]
    """[T] inner-lip distance over inter-ocular distance."""


@dataclass(frozen=True)
class PriorSchedule:
    """Hyper-parameters of the regression."""

    iterations: int = 1500
    frames: int = 16
    """Frames of one clip a step."""
    points: int = 160
    """Mesh vertices a step, lips and chin preferred."""
    lip_weight: float = 6.0
    """How much more often a lip vertex is drawn than another."""
    jitter: float = 1e-3
    """Metres: standard deviation added to the vertices, so that the field is smooth between them."""
    noise: float = 0.3
    """Standard deviation added to the speech windows."""
    shift: int = 0
    """Frames by which speech may be shifted at random, against overfitting to one clip's lag."""


PERSONAL = PriorSchedule(iterations=60, noise=0.6)
PERSONAL_FACTOR = 0.3
"""Schedule, and factor on the learning rates, of the bend toward one person."""


def displacements(
    landmarks: npt.NDArray[np.float32],
    rotations: npt.NDArray[np.float64],
    translations_: npt.NDArray[np.float64],
    camera: Camera,
    vertices: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """How far each tracked vertex is from where the rigid head would put it.

    Args:
        landmarks: [T, >=468, 3] pixels.
        rotations: [T, 3, 3] head space -> camera space.
        translations_: [T, 3] metres.
        camera: of the landmarks' pixels.
        vertices: [468, 3] canonical mesh, metres.

    Returns:
        [T, 468, 3] metres in head space.
    """
    seen = np.einsum("tij,nj->tni", rotations, vertices) + translations_[:, None]
    focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    projected = focal * seen[..., :2] / seen[..., 2:] + centre
    offset = (landmarks[:, : len(vertices), :2] - projected) * seen[..., 2:] / focal
    offset = np.concatenate([offset, np.zeros_like(offset[..., :1])], axis=-1)
    return np.asarray(np.einsum("tji,tnj->tni", rotations, offset), np.float32)


def train_motion_prior(
    tracks: list[MotionTrack],
    vertices: Tensor,
    schedule: PriorSchedule,
    seed: int,
    context: StageContext,
    watch: Callable[[int, FaceField], None] | None = None,
) -> FaceField:
    """One universal face field from many people's tracks.

    Args:
        tracks: at least one; clips are drawn by the square root of their length.
        vertices: [468, 3] canonical mesh, metres.
        schedule: hyper-parameters.
        seed: of the start and of every draw.
        context: progress as stage `prior`, cancel.
        watch: called every 250 iterations with the field as it stands (for validation curves).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        field = FaceField()
    _regress(field, tracks, vertices, schedule, seed, _prior_factor, context, watch)
    with torch.no_grad():
        field.layers[-1][3:] = 0
    return field


def personalise(field: FaceField, track: MotionTrack, vertices: Tensor, seed: int, context: StageContext) -> None:
    """Bend a universal field toward one person's own few seconds, in place; a second or two.

    On the last 12 s of two people, after their first 5 s: opening correlation 0.67 -> 0.73 and 0.62 -> 0.60, and 0.6
    -> 0.9 on the 5 s themselves, so that pictures are learned with lips that move as they did.

    Args:
        field: parameters that want gradients learn; the others stay.
        track: the person's own.
        vertices: [468, 3] canonical mesh, metres.
        seed: of every draw.
        context: asked for cancel.
    """
    _regress(field, [track], vertices, PERSONAL, seed, lambda _: PERSONAL_FACTOR, context)


def _prior_factor(progress: float) -> float:
    return 1.0 if progress < 0.3 else float(0.03 ** ((progress - 0.3) / 0.7))


def _regress(
    field: FaceField,
    tracks: list[MotionTrack],
    vertices: Tensor,
    schedule: PriorSchedule,
    seed: int,
    factor: Callable[[float], float],
    context: StageContext,
    watch: Callable[[int, FaceField], None] | None = None,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser = FieldAdamW(field)
    lengths = torch.tensor([len(track.expression) for track in tracks], dtype=torch.float32).sqrt()
    preference = _vertex_weights(len(vertices), schedule.lip_weight)
    for iteration in range(schedule.iterations):
        context.check()
        track = tracks[int(torch.multinomial(lengths, 1, generator=generator))]
        progress = iteration / schedule.iterations
        loss = _track_loss(field, track, vertices, preference, schedule, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(factor(progress))
        if iteration % 10 == 0:
            context.report("prior", progress)
        if watch is not None and (iteration + 1) % 250 == 0:
            watch(iteration + 1, field)


@torch.no_grad()
def predicted_opening(field: FaceField, track: MotionTrack, vertices: Tensor) -> npt.NDArray[np.float64]:
    """[T] how far the field alone would open the mouth (upper against lower lip, metres), for its judgement."""
    features = field.features(vertices[list(UPPER_LIP + LOWER_LIP)])
    found = []
    for start in range(0, len(track.expression), 64):
        part = slice(start, start + 64)
        outputs = field.outputs(features, *field.conditions(track.windows[part], track.expression[part]))
        vertical = translations(outputs, features)[:, 1].view(-1, 2, len(UPPER_LIP)).mean(2)
        found.append((vertical[:, 0] - vertical[:, 1]).numpy())
    return np.concatenate(found).astype(np.float64)


def opening_correlation(field: FaceField, track: MotionTrack, vertices: Tensor) -> float:
    """Pearson correlation of predicted and tracked mouth opening over a track."""
    return float(np.corrcoef(predicted_opening(field, track, vertices), track.opening)[0, 1])


def _vertex_weights(count: int, lip_weight: float) -> Tensor:
    weights = torch.ones(count)
    weights[sorted({*LIPS_OUTER, *LIPS_INNER, *UPPER_LIP, *LOWER_LIP})] = lip_weight
    return weights


def _track_loss(
    field: FaceField,
    track: MotionTrack,
    vertices: Tensor,
    preference: Tensor,
    schedule: PriorSchedule,
    generator: torch.Generator,
) -> Tensor:
    """Smooth L1 in millimetres, across the line of sight, of motions about the batch's mean."""
    count = len(track.expression)
    frames = torch.randint(count, (schedule.frames,), generator=generator)
    chosen = torch.multinomial(preference, schedule.points, generator=generator)
    points = vertices[chosen] + schedule.jitter * torch.randn(len(chosen), 3, generator=generator)
    heard = frames
    if schedule.shift:
        offset = int(torch.randint(-schedule.shift, schedule.shift + 1, (1,), generator=generator))
        heard = (frames + offset).clamp(0, count - 1)
    windows = track.windows[heard]
    windows = windows + schedule.noise * torch.randn(windows.shape, generator=generator)
    features = field.features(points)
    outputs = field.outputs(features, *field.conditions(windows, track.expression[frames]))
    predicted = translations(outputs, features).view(len(frames), len(chosen), 3)
    target = track.displacement[frames][:, chosen]
    error = (predicted - predicted.mean(0)) - (target - target.mean(0))
    across = torch.einsum("bij,bnj->bni", track.rotations[frames], error)[..., :2] * 1e3
    return F.smooth_l1_loss(across, torch.zeros_like(across))
