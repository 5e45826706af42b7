"""Adaptation as three stages over a work folder: face, mouth, fuse (facts sheet, section 4; the order is mandatory).

Each reads what the one before wrote, leaves one safetensors file, and does nothing where that file is there already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from core.avatar import Avatar, FaceField, Gaussians, MouthField
from core.avatar.avatar import branch_tensors, load_branch
from core.clip.backdrop import backdrop
from core.clip.canonical import canonical_face
from core.clip.layout import Clip
from core.clip.speech import reduce_speech
from core.learn.branch import Branch
from core.learn.face import FaceLoss
from core.learn.fuse import fuse
from core.learn.initialise import face_gaussians, mouth_gaussians
from core.learn.lids import fit_lids
from core.learn.loop import checkpoint_path, train_branch
from core.learn.motion_prior import personalise
from core.learn.motion_track import MotionTrack, displacements
from core.learn.mouth import MouthLoss
from core.learn.near import near_first
from core.learn.patches import PatchLoss
from core.learn.profiles import WHOLE, Method, Profile
from core.learn.rest import closed_windows
from core.learn.sitting import Field
from core.learn.tensor_file import read_tensors, write_tensors
from core.learn.training_set import TrainingSet, training_set
from core.learn.umf import Umf, learn_only
from core.perceptual import Lpips
from core.progress import StageContext

MOVING = "moving"
"""Tensors of the face branch's file."""
PERCEPTUAL_FROM = 0.4
"""Fraction of the face branch's iterations before which LPIPS would pull at shapes that are not there yet."""

FieldT = TypeVar("FieldT", FaceField, MouthField)

UNIVERSAL_MOUTH_RATE = 0.3
"""Factor on the learning rates of a mouth field that did not start from scratch."""


@dataclass(frozen=True)
class WorkFolder:
    """Names of the files that carry an adaptation from stage to stage."""

    root: Path

    @property
    def clip(self) -> Path:
        """The finished Clip's folder."""
        return self.root / "clip"

    @property
    def face(self) -> Path:
        """The trained face branch."""
        return self.root / "face.safetensors"

    @property
    def mouth(self) -> Path:
        """The trained mouth branch."""
        return self.root / "mouth.safetensors"

    @property
    def avatar(self) -> Path:
        """Both branches, fused."""
        return self.root / "avatar.safetensors"


def learn_face(
    work: WorkFolder, profile: Profile, umf: Umf | None, seed: int, context: StageContext, method: Method = WHOLE
) -> None:
    """Train the face branch from the work folder's clip, with a universal motion field or from scratch."""
    if work.face.exists():
        return
    clip = Clip.load(work.clip)
    data = training_set(clip)
    start = face_gaussians(data, canonical_face(), profile.surface_points, profile.shell_points, seed)
    track, vertices = _motion_track(clip, data), canonical_face().vertices
    field = _seeded(FaceField if umf is None else umf.face_field, seed)
    if method.lids:
        field.lids = fit_lids(track, vertices)
    if umf is not None:
        if not checkpoint_path(work.root, "face").exists():
            learn_only(field, aligner=False)
            quiet = StageContext(is_cancelled=context.is_cancelled)
            personalise(field, track, torch.from_numpy(vertices.astype(np.float32)), seed, quiet)
        if not method.aligner:
            field.aligner = None
        learn_only(field, aligner=True)
    order, moving = near_first(start.means)
    branch = Branch.start(start.chosen(order).trainable(), field, seed, moving)
    loss = FaceLoss(
        data,
        mouth=not method.mouth_branch,
        perceptual=_patches(profile, method, data, profile.perceptual_every),
        perceptual_from=round(PERCEPTUAL_FROM * profile.face.iterations),
    )
    train_branch(branch, profile.face, data.size, loss, work.root, "face", context)
    parts = {"aligned": branch.field.aligner is not None, "lids": branch.field.lids is not None}
    tensors = branch_tensors("face", branch.gaussians, branch.field)
    tensors |= {MOVING: torch.tensor(branch.moving)}
    write_tensors(work.face, tensors, {name: str(int(there)) for name, there in parts.items()})


def _patches(profile: Profile, method: Method, data: TrainingSet, every: int) -> PatchLoss | None:
    wanted = method.perceptual and profile.perceptual > 0
    return PatchLoss(Lpips.published(), profile.perceptual, data.size, every) if wanted else None


def _motion_track(clip: Clip, data: TrainingSet) -> MotionTrack:
    keep = np.nonzero(clip.valid)[0]
    rotations = clip.rotations[keep]
    moved = displacements(
        clip.landmarks[keep], rotations, clip.translations[keep], clip.camera, canonical_face().vertices
    )
    return MotionTrack(
        identity="self",
        speech=reduce_speech(clip.speech),
        zero=clip.speech_zero,
        lag=clip.reference.lag_frames,
        frames=keep,
        expression=clip.expression[keep],
        rotations=rotations.astype(np.float32),
        displacement=moved,
        opening=data.opening,
        pixels_per_metre=(clip.camera.fx * 512 / clip.size / clip.translations[keep, 2]).astype(np.float32),
    )


def learn_mouth(
    work: WorkFolder, profile: Profile, umf: Umf | None, seed: int, context: StageContext, method: Method = WHOLE
) -> None:
    """Train the mouth branch behind the finished face branch, from the universal mouth field where there is one."""
    if work.mouth.exists():
        return
    face = _read_face(work)
    data = training_set(Clip.load(work.clip))
    universal = None if umf is None else umf.mouth_field()
    field = universal or _seeded(MouthField, seed)
    start = mouth_gaussians(canonical_face(), profile.mouth_points, seed)
    if not method.mouth_branch:
        nobody = start.chosen(slice(0))
        write_tensors(work.mouth, branch_tensors("mouth", nobody, field))
        return
    if not method.hook:
        field.unhook()
    branch = Branch.start(start, field, seed)
    schedule = profile.mouth if universal is None else replace(profile.mouth, field_rate=UNIVERSAL_MOUTH_RATE)
    moving = face.gaussians.chosen(slice(face.moving))
    loss = MouthLoss(data, moving, _held(face.field, moving.means), hooked=method.hook)
    train_branch(branch, schedule, data.size, loss, work.root, "mouth", context)
    write_tensors(work.mouth, branch_tensors("mouth", branch.gaussians, branch.field))


@torch.no_grad()
def _held(field: FaceField, points: Tensor) -> Field:
    """How a finished face moves: what it knows of its points whatever is said is computed once."""
    features = field.features(points)
    return lambda _, windows, expression: field.move(features, *field.condition(windows, expression))


def learn_fuse(work: WorkFolder, profile: Profile, seed: int, context: StageContext, method: Method = WHOLE) -> None:
    """Tune both branches together over the recorded backdrop, and write the avatar."""
    if work.avatar.exists():
        return
    clip = Clip.load(work.clip)
    face = _read_face(work)
    data = training_set(clip)
    mouth_field = MouthField()
    mouth = load_branch("mouth", read_tensors(work.mouth)[0], mouth_field).frozen()
    if face.field.aligner is not None:
        learn_only(face.field, aligner=True)
    else:
        face.field.requires_grad_(method.aligner)  # a universal field that lost its aligner answers as it is
    backdrops = np.stack(
        [backdrop(frame, labels, clip.plate) for frame, labels in zip(data.frames, data.labels, strict=True)]
    )
    avatar = Avatar(face.gaussians, face.field, mouth, mouth_field, moving=face.moving)
    perceptual = _patches(profile, method, data, profile.fuse_perceptual_every)
    fused = fuse(avatar, data, backdrops, profile.fuse_iterations, perceptual, seed, context, hooked=method.hook)
    resting = replace(fused, rest=closed_windows(fused.face_field, data))
    write_tensors(work.avatar, resting.to_tensors(), resting.metadata())


def load_avatar(path: Path) -> Avatar:
    """The avatar that `learn_fuse` wrote."""
    return Avatar.from_tensors(*read_tensors(path))


def _seeded(kind: Callable[[], FieldT], seed: int) -> FieldT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind()


@dataclass(frozen=True)
class _Face:
    """The finished face branch."""

    gaussians: Gaussians
    moving: int
    """How many of them, the first, move."""
    field: FaceField


def _read_face(work: WorkFolder) -> _Face:
    tensors, metadata = read_tensors(work.face)
    field = FaceField(aligned=metadata["aligned"] == "1", lids=metadata["lids"] == "1")
    gaussians = load_branch("face", tensors, field).frozen()
    field.requires_grad_(False)
    return _Face(gaussians, int(tensors[MOVING]), field)
