"""The public-domain portrait as layers: still plate, torso with neck, head. Knows nothing of motion.

The picture is `skimage.data.astronaut()` (Eileen Collins, NASA, public domain), loaded at run time. It never changes,
so the few outlines below were drawn by hand on it; GrabCut and a guided filter turn them into a soft matte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from core.clip.layout import Label

Float = npt.NDArray[np.float32]

WORK = 512
"""Side in pixels at which the layers are cut; smaller samples are scaled down from it."""
CROP = (100, 0, 256)
"""Left, top, side of the crop in the 512-pixel original."""

# Outline of hair, ears, jaw and the suit's ring, in pixels of the WORK-sized crop; GrabCut decides the band around it.
PERSON_OUTLINE = (
    (178, 70), (213, 43), (260, 32), (307, 40), (354, 66), (386, 103), (403, 164), (398, 202), (377, 239), (360, 258),
    (354, 270), (339, 274), (327, 300), (316, 328), (310, 349), (344, 366), (382, 403), (405, 450), (410, 471),
    (420, 474), (440, 483), (460, 497), (472, 512), (480, 540), (-12, 540), (-12, 427), (16, 415), (28, 408), (26, 375),
    (46, 361), (63, 333), (100, 306), (138, 296), (168, 296), (164, 263), (157, 263), (145, 248), (140, 234),
    (114, 202), (107, 155), (112, 124), (128, 96), (157, 80),
)  # fmt: skip
NECK_SIDES = ((171, 388), (174, 290), (303, 290), (311, 350), (311, 380))
"""Where the neck goes on behind the jaw: a polygon."""
RING_END = ((146, 280), (190, 280), (190, 372), (146, 372))
"""Where the suit's ring goes on behind the jaw: there it is the mirror image of itself, about RING_APEX."""
RING_APEX = 153
CLUTTER = ((492, 395, 20, 75),)
"""Left, top, width, height of what the plate must lose (a corner of the desk)."""

# MediaPipe's face oval from the right-hand side of the picture over the chin to the left-hand side.
JAW = (288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58)


@dataclass(frozen=True)
class Portrait:
    """Layers at one size S, sRGB 0..1, colours valid a few pixels beyond their mattes."""

    image: Float
    """[S, S, 3] the crop itself."""
    plate: Float
    """[S, S, 3] backdrop without the person."""
    torso: Float
    """[S, S, 3] neck and suit, the neck continued behind the jaw."""
    torso_alpha: Float
    """[S, S] 0..1."""
    head_alpha: Float
    """[S, S] 0..1: hair, ears and face down to the jaw."""
    landmarks: npt.NDArray[np.float64]
    """[478, 3] MediaPipe mesh in pixels of this size."""


def original_crop() -> npt.NDArray[np.uint8]:
    """[WORK, WORK, 3] head and shoulders of the portrait, enlarged."""
    left, top, side = CROP
    picture: npt.NDArray[np.uint8] = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    crop = picture[top : top + side, left : left + side]
    large = cv2.resize(crop, (WORK, WORK), interpolation=cv2.INTER_LANCZOS4).astype(np.float32)
    sharp = large + 0.35 * (large - cv2.GaussianBlur(large, (0, 0), 1.6))
    return np.asarray(np.clip(np.round(sharp), 0, 255), np.uint8)


def _disc(radius: int) -> npt.NDArray[Any]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _polygon(points: npt.ArrayLike) -> Float:
    """[WORK, WORK] anti-aliased filled polygon, 0..1."""
    mask = np.zeros((WORK, WORK), np.uint8)
    fixed = np.round(np.asarray(points, np.float64) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(mask / np.float32(255), np.float32)


def _person_matte(image: npt.NDArray[np.uint8]) -> Float:
    """[WORK, WORK] soft matte of the whole person."""
    outline = (_polygon(PERSON_OUTLINE) > 0.5).astype(np.uint8)
    trimap = np.where(outline > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[cv2.erode(outline, _disc(8)) > 0] = cv2.GC_FGD
    trimap[cv2.dilate(outline, _disc(7)) == 0] = cv2.GC_BGD
    shoulder = np.zeros_like(outline)
    shoulder[455:, 395:] = 1  # a blurred edge over a bright backdrop: the drawn outline is better than GrabCut here
    trimap[shoulder > 0] = np.where(outline[shoulder > 0] > 0, cv2.GC_FGD, cv2.GC_BGD)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image[..., ::-1].copy(), trimap, (0, 0, WORK, WORK), *models, 4, cv2.GC_INIT_WITH_MASK)
    hard = np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(hard)
    if count > 2:
        hard = (pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    soft = cv2.ximgproc.guidedFilter(image, hard.astype(np.float32), 5, 50.0)
    return np.asarray(np.clip((soft - 0.12) / 0.76, 0, 1), np.float32)


def _spread(image: Float, weight: Float, sigma: float) -> Float:
    """Normalised convolution: colours of where `weight` is 1, carried smoothly to where it is 0."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    colours = cv2.GaussianBlur(image * weight[..., None], (0, 0), sigma)
    return np.asarray(colours / np.maximum(total, 1e-4)[..., None], np.float32)


def _extended(image: Float, alpha: Float) -> Float:
    """The layer's own colours, with those of its solid inside drawn over the soft edge and beyond it: no halo."""
    solid = (alpha > 0.97).astype(np.float32)
    near = _spread(image, solid, 2.5)
    far = _spread(image, solid, 12.0)
    reach = np.clip(cv2.GaussianBlur(solid, (0, 0), 2.5) * 20, 0, 1)[..., None]
    beyond = near * reach + far * (1 - reach)
    keep = cv2.GaussianBlur(solid, (0, 0), 0.7)[..., None] * solid[..., None]
    return np.asarray(image * keep + beyond * (1 - keep), np.float32)


def _plate(image: Float, person: Float, rng: np.random.Generator) -> Float:
    """The backdrop, smooth where the person stood, with the grain of the rest."""
    covered = cv2.dilate((person > 0.02).astype(np.uint8), _disc(9))
    for left, top, width, height in CLUTTER:
        covered[top : top + height, left : left + width] = 1
    seen = 1 - covered.astype(np.float32)
    smooth = image
    for sigma in (90.0, 45.0, 22.0):
        reach = np.clip(cv2.GaussianBlur(seen, (0, 0), sigma) * 8, 0, 1)[..., None]
        layer = _spread(image, seen, sigma)
        smooth = layer if sigma == 90.0 else layer * reach + smooth * (1 - reach)
    residual = (image - cv2.GaussianBlur(image, (0, 0), 3))[covered == 0]
    grain = cv2.GaussianBlur(rng.standard_normal(image.shape).astype(np.float32), (0, 0), 1.1)
    grain = grain * (0.8 * residual.std() / grain.std())
    edge = cv2.GaussianBlur(seen, (0, 0), 3)[..., None] * seen[..., None]
    return np.asarray(np.clip(image * edge + (smooth + grain) * (1 - edge), 0, 1), np.float32)


def _torso(image: Float, person: Float, head: Float) -> tuple[Float, Float]:
    """Torso colours and matte: the neck's skin is continued upwards behind the jaw, darker with depth."""
    neck, ring = _polygon(NECK_SIDES), _polygon(RING_END)
    near_head = cv2.dilate(head, _disc(4)) > 0.02
    body = person * (1 - (cv2.dilate(head, _disc(2)) > 0.02))
    mirror = np.abs(2 * RING_APEX - np.arange(WORK)) % WORK
    ring = ring * near_head * (1 - head[:, mirror])
    alpha = np.maximum(body, np.maximum(neck * person * near_head, ring * person[:, mirror]))
    beside = np.s_[285:349, 305:350]
    alpha[beside] = np.minimum(alpha[beside], neck[beside])
    hidden = ((alpha > 0) & near_head).astype(np.uint8)
    colours = _extended(image, body)
    known = np.clip(np.where(hidden[..., None] > 0, image, colours) * 255, 0, 255).astype(np.uint8)
    filled = cv2.inpaint(known, hidden, 9, cv2.INPAINT_TELEA).astype(np.float32) / 255
    depth = cv2.distanceTransform(hidden, cv2.DIST_L2, 3) / 40.0
    shaded = filled * (1 - 0.35 * np.clip(depth, 0, 1)[..., None])
    ring = (ring * (1 - neck))[..., None]
    shaded = shaded * (1 - ring) + image[:, mirror] * ring
    return np.where(near_head[..., None], shaded, colours).astype(np.float32), np.asarray(alpha, np.float32)


def _head_matte(person: Float, landmarks: npt.NDArray[np.float64]) -> Float:
    """The part of the person above the jaw line."""
    jaw = landmarks[list(JAW), :2].copy()
    centre = landmarks[1, :2]
    jaw += 1.2 * (jaw - centre) / np.linalg.norm(jaw - centre, axis=1, keepdims=True)
    jaw[(jaw[:, 0] > 300) & (jaw[:, 1] < 338), 0] += 9  # no neck shows beside the jaw here: all of it is head
    level = 285.0
    below = jaw[jaw[:, 1] > level]
    outline = [(-5, -5), (WORK + 5, -5), (WORK + 5, level), (below[0, 0] + 6, level), *below, (below[-1, 0] - 6, level)]
    region = cv2.GaussianBlur(_polygon([*outline, (-5, level)]), (0, 0), 1.2)
    return np.asarray(person * region, np.float32)


def load_portrait(landmarks: npt.NDArray[np.float64], size: int, seed: int) -> Portrait:
    """Cut the portrait into layers.

    Args:
        landmarks: [478, 3] MediaPipe mesh of `original_crop()`, in its pixels.
        size: side S of the layers in pixels, at most WORK.
        seed: of the plate's grain.
    """
    pixels = original_crop()
    image = np.asarray(pixels / np.float32(255), np.float32)
    person = _person_matte(pixels)
    head = _head_matte(person, landmarks)
    torso, torso_alpha = _torso(image, person, head)
    layers = (
        _extended(image, head),
        _plate(image, person, np.random.default_rng(seed)),
        torso,
        torso_alpha,
        head,
    )
    if size != WORK:
        layers = tuple(cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA) for layer in layers)  # type: ignore[assignment]
    return Portrait(*layers, landmarks=landmarks * (size / WORK))


FACE_OUTLINE = (
    (158, 234), (165, 188), (171, 146), (190, 151), (204, 161), (222, 160), (241, 160), (278, 162), (307, 171),
    (330, 178), (339, 188), (342, 220), (344, 253), (341, 272), (327, 302), (316, 330), (290, 350), (246, 362),
    (205, 352), (180, 330), (168, 300), (164, 263),
)  # fmt: skip
"""Skin of the face below the fringe, drawn by hand, in pixels of the WORK-sized crop."""
EARS = (
    ((145, 236), (160, 234), (167, 263), (157, 265), (145, 252)),
    ((340, 258), (362, 256), (355, 271), (338, 276)),
)


def regions(portrait: Portrait, outer_lips: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """[S, S] `Label` of the head's pixels: hair, skin, lips (with what lies between them); 0 outside.

    Args:
        portrait: the layers.
        outer_lips: [n, 2] outline of the lips in pixels of the portrait.
    """
    size = portrait.image.shape[0]
    labels = np.where(portrait.head_alpha > 0.3, np.uint8(Label.HAIR), np.uint8(0))
    for outline in (FACE_OUTLINE, *EARS):
        points = np.round(np.asarray(outline, np.float64) * size / WORK * 16).astype(np.int32)
        cv2.fillPoly(labels, [points], int(Label.SKIN), shift=4)
    below = np.arange(size)[:, None] > 285 * size / WORK
    labels[below & (labels == Label.HAIR)] = Label.SKIN
    labels[portrait.head_alpha <= 0.3] = 0
    cv2.fillPoly(labels, [np.round(outer_lips * 16).astype(np.int32)], int(Label.LIPS), shift=4)
    return np.asarray(labels, np.uint8)
