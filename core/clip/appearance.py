"""What the pictures themselves say about a clip: light, focus, glare, and whether something comes before the face.

Looks at some frames whose landmarks are known. Measures only: what is good enough is decided in `report.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.face_texture import Texture, face_texture, region
from core.clip.hands import Hand, HandFinder
from core.clip.landmarks import CHIN, FACE_OVAL, FOREHEAD
from core.errors import MissingModelError

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_EVERY = 3
"""Frames from one look to the next: what passes before the face takes longer than an eighth of a second."""
_MOST_LOOKS = 250
_HANDS_EVERY = 4
"""Looks from one search for hands to the next."""
_FOCUS_HEIGHT = 96
"""Height in pixels to which a face is brought before its focus is measured."""
_FOCUS_REACH = 9
_WHITE = 235
_FULL = 250
_LIGHTNESS_STEP, _CHROMA_STEP = 28.0, 10.0
"""How far (CIE Lab, 8 bit) a spot may be from the clip's own median face: shadows and blushes stay below."""
_STRUCTURE_STEP = 4.0
"""Grey levels of structure that the usual face lacks, or that is lacking from it."""
_LIVELY = 9.0
"""Times the usual difference that is borne on top, where the face is lively."""
_HELD = 0.05
"""A hand before the face covers at least this share of it; a jaw that is taken for one covers nothing."""
_OVER_FACE = 0.15
"""Share of a hand's joints that lie on the face, from which on it is before it."""


@dataclass(frozen=True)
class Appearance:
    """What was measured in n frames."""

    numbers: npt.NDArray[np.int64]
    """[n] frames looked at, all with a face."""
    brightness: npt.NDArray[np.float64]
    """[n] median luma of the face, 0..255."""
    full: npt.NDArray[np.float64]
    """[n] share of the face that is as bright as the picture can be, 0..1."""
    blur: npt.NDArray[np.float64]
    """[n] 0 (crisp) .. 1: share of the fine detail that a further blur can't take away any more."""
    glare: npt.NDArray[np.float64]
    """[n] share of the area about the eyes that is white, 0..1."""
    covered: npt.NDArray[np.float64]
    """[n] share of the face that one connected patch covers that does not belong to this person's face, 0..1."""
    hands: npt.NDArray[np.int64]
    """[n] 0: no hand, 1: a hand in the picture, 2: a hand before the face, -1: was not looked for."""


def look_distance(count: int) -> int:
    """Frames from one look to the next in a clip of `count` frames."""
    return max(_EVERY, -(-count // _MOST_LOOKS))


def frames_to_look_at(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """[n] numbers of the frames with a face that `look_at_frames` wants of a clip of `seen` [T]."""
    numbers = np.arange(0, len(seen), look_distance(len(seen)))
    numbers = numbers[seen[numbers]]
    return numbers if len(numbers) else np.nonzero(seen)[0][:1]


def look_at_frames(
    picture_of: Callable[[int], Picture],
    numbers: npt.NDArray[np.int64],
    landmarks: npt.NDArray[np.floating],
    tick: Callable[[float], None],
) -> Appearance:
    """Measure some frames of a clip.

    Args:
        picture_of: gives the picture [S, S, 3] of a frame number.
        numbers: [n] the frames to look at, at least one; see `frames_to_look_at`.
        landmarks: [T, 478, 2+] of all frames, pixels of the pictures.
        tick: called with the share done, 0..1, many times a second.
    """
    finder = _hand_finder()
    textures: list[Texture] = []
    blur, hands = [], []
    for look, number in enumerate(numbers):
        tick(0.9 * look / len(numbers))
        picture, points = np.asarray(picture_of(int(number))), landmarks[number]
        textures.append(face_texture(picture, points))
        blur.append(_blur(picture, points))
        wanted = finder is not None and look % _HANDS_EVERY == 0
        hands.append(_hands(finder.find(picture), points) if finder is not None and wanted else -1)
    covered = covered_shares(textures)
    found = np.array(hands, np.int64)
    found[(found == 2) & (covered < _HELD)] = 0
    face, lenses = region("face"), region("lenses")
    grey = [cv2.cvtColor(one.colours, cv2.COLOR_RGB2GRAY) for one in textures]
    shown = [one.shown & face for one in textures]
    tick(0.95)
    return Appearance(
        numbers=np.asarray(numbers),
        brightness=np.array([_median(one[there]) for one, there in zip(grey, shown, strict=True)]),
        full=np.array([_share(one >= _FULL, there) for one, there in zip(grey, shown, strict=True)]),
        blur=np.array(blur),
        glare=np.array([_share(one.colours.min(-1) > _WHITE, one.shown & lenses) for one in textures]),
        covered=covered,
        hands=found,
    )


def _hand_finder() -> HandFinder | None:
    """None where the optional model is not here: then no hands are looked for, and the report says so."""
    try:
        return HandFinder()
    except MissingModelError:
        return None


def _hands(found: list[Hand], landmarks: npt.NDArray[np.floating]) -> int:
    if not found:
        return 0
    oval = np.asarray(landmarks[list(FACE_OVAL), :2], np.float32)
    over = [np.mean([cv2.pointPolygonTest(oval, point.tolist(), False) > 0 for point in one.points]) for one in found]
    return 2 if max(over) > _OVER_FACE else 1


def covered_shares(textures: Sequence[Texture]) -> npt.NDArray[np.float64]:
    """[n] share of the face under the largest connected patch that is unlike the clip's own median face.

    Unlike in colour, or in structure: a hand has the skin's colour, but hides nostrils and folds, and brings its own.
    Lips, eyes and the outline move and are left out; the whole face's light may change. What is before the face all the
    time is part of the median and is not found; far turns of the head may look like a patch.
    """
    usable = region("face") & ~_grown(~region("face"), 9) & ~_grown(region("mouth"), 9) & ~_grown(region("eyes"), 5)
    seen = np.stack([one.shown & usable for one in textures])
    colours = np.stack([_levelled(one.colours, there) for one, there in zip(textures, seen, strict=True)])
    structure = np.stack([_structure(one.colours) for one in textures])
    usual, usual_structure = _median_where(colours, seen), _median_where(structure, seen)
    units = np.array([_LIGHTNESS_STEP, _CHROMA_STEP, _CHROMA_STEP], np.float32)
    foreign = np.stack(
        [_foreign_energy(one, usual_structure, there) for one, there in zip(structure, seen, strict=True)]
    )
    bearable = _STRUCTURE_STEP**2 + _LIVELY * np.median(foreign, axis=0)
    shares = np.zeros(len(textures))
    for number, there in enumerate(seen):
        far = (((colours[number] - usual) / units) ** 2).sum(-1) + foreign[number] / bearable
        solid = cv2.morphologyEx(((far > 1) & there).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
        _, _, parts, _ = cv2.connectedComponentsWithStats(solid)
        if len(parts) > 1:
            shares[number] = parts[1:, cv2.CC_STAT_AREA].max() / max(int(there.sum()), 1)
    return shares


def _levelled(colours: Picture, there: npt.NDArray[np.bool_]) -> Floats:
    """[96, 96, 3] CIE Lab, smoothed, less its median over the face."""
    lab = cv2.cvtColor(cv2.GaussianBlur(colours, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    return np.asarray(lab - (np.median(lab[there], axis=0) if there.any() else 0), np.float32)


def _structure(colours: Picture) -> Floats:
    """[96, 96] what is between 1 and 4 pixels large in the luma."""
    grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 4), np.float32)


def _median_where(values: Floats, seen: npt.NDArray[np.bool_]) -> Floats:
    """Median over frames of [n, 96, 96, ...], each pixel from the frames that show it; 0 where none does."""
    known = seen.any(0)
    result = np.zeros(values.shape[1:], np.float32)
    mask = seen.reshape(*seen.shape, *[1] * (values.ndim - 3))
    result[known] = np.nanmedian(np.where(mask, values, np.nan)[:, known], axis=0)
    return result


def _foreign_energy(one: Floats, usual: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """[96, 96] local mean square of what either of two structures has that the other has not within two pixels."""
    reach = np.ones((5, 5), np.uint8)
    lacks = [
        np.maximum(np.maximum(a - cv2.dilate(b, reach), cv2.erode(b, reach) - a), 0)
        for a, b in ((one, usual), (usual, one))
    ]
    energy = cv2.GaussianBlur((np.maximum(*lacks) * there) ** 2, (0, 0), 4)
    share = cv2.GaussianBlur(there.astype(np.float32), (0, 0), 4)
    return np.asarray(energy / np.maximum(share, 0.2), np.float32)


def _blur(picture: Picture, landmarks: npt.NDArray[np.floating]) -> float:
    """Blur of the face by how little a further blur changes (Crete et al., 2007): contrast has no part in it."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    left, top = np.maximum(low, 0).astype(int)
    right, bottom = np.minimum(high, picture.shape[0]).astype(int)
    if right - left < 8 or bottom - top < 8:
        return 1.0
    grey = cv2.cvtColor(np.ascontiguousarray(picture[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
    factor = _FOCUS_HEIGHT / max(float(np.linalg.norm(landmarks[FOREHEAD, :2] - landmarks[CHIN, :2])), 1.0)
    size = max(8, round(grey.shape[1] * factor)), max(8, round(grey.shape[0] * factor))
    fine = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC).astype(np.float32)
    shares = []
    for axis, kernel in ((0, (1, _FOCUS_REACH)), (1, (_FOCUS_REACH, 1))):
        before = np.abs(np.diff(fine, axis=axis))
        after = np.abs(np.diff(cv2.blur(fine, kernel), axis=axis))
        shares.append(1 - float(np.maximum(before - after, 0).sum()) / max(float(before.sum()), 1e-6))
    return max(shares)


def _grown(mask: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((by, by), np.uint8)) > 0)


def _median(values: npt.NDArray[Any]) -> float:
    return float(np.median(values)) if values.size else 0.0


def _share(mask: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_]) -> float:
    return float(mask[there].mean()) if there.any() else 0.0
