"""The portrait: the recorded torso and background that every synthesised head is set into, as videos in the bundle.

`backdrop.mp4` shows torso over background plate with the head's place filled in; `matte.mp4` says how much of each
pixel is the person, so that another background can stand behind. Knows nothing of the avatar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.bundle.file import BACKDROP, MATTE, TRACKS, Bundle
from core.bundle.tracks import Tracks
from core.clip.backdrop import backdrop
from core.clip.landmarks import LIPS_OUTER
from core.clip.layout import FPS, Clip, Label, Reference
from core.errors import BundleError, LikenessError
from core.media.decode import decode_frames
from core.media.encode import VideoWriter
from core.media.probe import probe_picture
from core.progress import StageContext

BACKDROP_CRF = 12
MATTE_CRF = 20
MATTE_SOFTNESS = 1.2
"""Standard deviation in pixels, for a frame of 512, of the blur at the matte's edge."""
MATTE_SIDE = 256
"""Mattes are found at most this large, which costs a quarter at 512; their edges are soft anyway."""
MAX_DECODED_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Portrait:
    """T recorded frames without the head; the pictures lie in a memory-mapped file, so any frame is at hand."""

    tracks: Tracks
    backdrops: npt.NDArray[np.uint8]
    """[T, S, S, 3] sRGB."""
    mattes: npt.NDArray[np.uint8] | None
    """[T, S, S] 0..255, or None where they were not asked for."""

    @property
    def count(self) -> int:
        """Number of frames T."""
        return self.tracks.count


def person_matte(frame: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """How much of each backdrop pixel is the person: torso, and what was filled in above it under the head.

    The backdrop is made once before black and once before white; where the two differ, the background shows through.

    Args:
        frame: [S, S, 3] sRGB, the recorded picture.
        labels: [S, S] values of `Label`.

    Returns:
        [S, S] 0..255, soft at the edge.
    """
    side = labels.shape[0]
    if side > MATTE_SIDE:
        frame = np.asarray(cv2.resize(frame, (MATTE_SIDE, MATTE_SIDE), interpolation=cv2.INTER_AREA), np.uint8)
        labels = np.asarray(cv2.resize(labels, (MATTE_SIDE, MATTE_SIDE), interpolation=cv2.INTER_NEAREST_EXACT))
    outside = (labels == Label.BACKGROUND)[..., None]
    black, white = (
        backdrop(np.where(outside, shade, frame), labels, np.full_like(frame, shade)).astype(np.float32)
        for shade in (np.uint8(0), np.uint8(255))
    )
    matte = cv2.resize(255 - (white - black).mean(axis=2), (side, side), interpolation=cv2.INTER_LINEAR)
    matte = cv2.GaussianBlur(np.clip(matte, 0, 255), (0, 0), MATTE_SOFTNESS * side / 512)
    return np.asarray(matte + 0.5).astype(np.uint8)


def clip_tracks(clip: Clip) -> Tracks:
    """What the bundle keeps of the clip's tracking: poses and expression, and no landmarks but the lips' boxes."""
    lips = clip.landmarks[:, LIPS_OUTER, :2]
    return Tracks(
        rotations=clip.rotations.astype(np.float64),
        translations=clip.translations.astype(np.float64),
        expression=clip.expression.astype(np.float32),
        valid=clip.valid.astype(np.bool_),
        lip_boxes=np.nan_to_num(np.concatenate([lips.min(1), lips.max(1)], axis=1)).astype(np.float32),
        rigid_points=clip.reference.rigid_points.astype(np.float64),
        expression_range=clip.reference.expression_range,
        skin=clip.reference.skin,
    )


@dataclass(frozen=True)
class BuiltPortrait:
    """A portrait on its way into a bundle."""

    members: dict[str, Path | bytes]
    """Name in the bundle -> file or bytes."""
    backdrops: npt.NDArray[np.uint8]
    """[T, S, S, 3] as they were before encoding, memory-mapped."""


def build_portrait(clip: Clip, folder: Path, context: StageContext) -> BuiltPortrait:
    """Make the portrait of `clip` in `folder`, an empty scratch folder of the caller's."""
    videos = {name: folder / name.rsplit("/", 1)[-1] for name in (BACKDROP, MATTE)}
    size = clip.size
    store = np.lib.format.open_memmap(folder / "backdrops.npy", "w+", np.uint8, (clip.count, size, size, 3))
    with (
        VideoWriter(videos[BACKDROP], size, size, fps=FPS, crf=BACKDROP_CRF) as backdrops,
        VideoWriter(videos[MATTE], size, size, fps=FPS, crf=MATTE_CRF) as mattes,
    ):
        for index in range(clip.count):
            context.check()
            frame, labels = np.asarray(clip.frames[index]), np.asarray(clip.labels[index])
            store[index] = backdrop(frame, labels, clip.plate)
            backdrops.write(store[index])
            matte = person_matte(frame, labels)
            mattes.write(np.repeat(matte[..., None], 3, axis=2))
    return BuiltPortrait({**videos, TRACKS: clip_tracks(clip).to_bytes()}, store)


def open_portrait(bundle: Bundle, folder: Path, *, with_matte: bool) -> Portrait:
    """Decode the bundle's portrait into `folder` (an empty scratch folder of the caller's).

    Raises:
        BundleError: `bundle_damaged` where the videos can't be decoded or don't fit the tracks.
    """
    tracks = Tracks.from_bytes(bundle.read(TRACKS))
    size = bundle.manifest.size
    if tracks.count * size * size * 4 > MAX_DECODED_BYTES:
        raise BundleError("bundle_too_large", "The bundle's portrait is too long.", "Make it from a shorter clip.")
    backdrops = _decode(bundle, BACKDROP, folder, (tracks.count, size, size, 3))
    mattes = _decode(bundle, MATTE, folder, (tracks.count, size, size)) if with_matte else None
    return Portrait(tracks, backdrops, mattes)


def reference(bundle: Bundle) -> Reference:
    """What another clip of the same recording must share with the bundle's own."""
    manifest, tracks = bundle.manifest, Tracks.from_bytes(bundle.read(TRACKS))
    return Reference(
        manifest.crop,
        manifest.reference_focal,
        tracks.rigid_points,
        manifest.lag_frames,
        tracks.expression_range,
        tracks.skin,
    )


def _decode(bundle: Bundle, name: str, folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    video = bundle.extract(name, folder)
    store = np.lib.format.open_memmap(video.with_suffix(".npy"), "w+", np.uint8, shape)
    damaged = BundleError("bundle_damaged", f"The member {name} is no usable video.", "Make the bundle again.")
    written = 0
    try:
        for index, picture in enumerate(_pictures(video, shape)):
            store[index] = picture if len(shape) == 4 else picture[..., 1]
            written += 1
    except LikenessError:
        raise damaged from None
    if written != shape[0]:
        raise damaged
    video.unlink()
    return store


def _pictures(video: Path, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    info = probe_picture(video)
    if (info.width, info.height) != (shape[1], shape[1]):
        return
    yield from decode_frames(video, info, crop=None, size=shape[1], count=shape[0])
