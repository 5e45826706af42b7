"""Labels of every frame, without a parsing network: where a class lies about this face, which colours it has, and where
the person is, learned from a few key frames of the same clip.

A first version of what issue 4 asks; measured and looked at in docs/clip.md. Must not know poses, files or speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from core.clip.canonical import FACE_OVAL, LIPS_OUTER
from core.clip.colours import rough_labels
from core.clip.face_frame import face_coordinates, hanging_hair, polygon, shoulder_height, similarity, skin_reach
from core.clip.layout import Label
from core.clip.mouth_line import fit_mouth, mouth_interior
from core.clip.person import SIDE, PersonSegmenter
from core.clip.scaling import scaled_picture

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

KEY_FRAMES = 12
_CLASSES = (Label.BACKGROUND, Label.HAIR, Label.SKIN, Label.TORSO)
_BORDER = SIDE // 4
"""Room around the reference picture, so that a class seen near its border is known a little beyond it."""
_COLOUR_WEIGHT = 0.7
_PERSON_WEIGHT = 0.75
_NEIGHBOUR_WEIGHT = 0.25
"""Of the frame before and of the frame after; the rest is the frame's own."""
_BINS = 32
_NEVER = -1e3
_INNER_FACE = 0.85
_FRINGE_HEIGHT = 0.2
_SMALLEST_TORSO = 100
"""Pixels at the working size."""


@dataclass(frozen=True)
class ParsingModel:
    """What one clip's classes look like, at the working size (256 pixels)."""

    reference: Floats
    """[478, 2] mean landmarks; the place of `place`'s origin is (-64, -64) from theirs."""
    place: Floats
    """[384, 384, 4] log prior of each class around the reference face."""
    colour: Floats
    """[32 * 32 * 32, 4] log likelihood of each LAB bin in each class."""
    mouth: Floats
    """What `fit_mouth` knows of the colours inside the mouth."""


def fit_parsing(frames: list[Picture], landmarks: list[Floats], segmenter: PersonSegmenter) -> ParsingModel:
    """Learn the classes of a clip from key frames.

    Args:
        frames: pictures [S, S, 3], each with a face.
        landmarks: [478, 2+] of each, in pixels of the picture.
        segmenter: where the person is.
    """
    scale = SIDE / frames[0].shape[0]
    points = [one[:, :2].astype(np.float32) * scale for one in landmarks]
    reference: Floats = np.asarray(np.mean(points, axis=0), np.float32)
    side = SIDE + 2 * _BORDER
    counts = np.full((side, side, len(_CLASSES)), 1e-3, np.float32)
    colours = np.zeros((_BINS**3, len(_CLASSES)), np.float32)
    for frame, here in zip(frames, points, strict=True):
        small = scaled_picture(frame, SIDE)
        labels = rough_labels(small, here, segmenter.probability(small))
        labels[(labels == Label.LIPS) | (labels == Label.MOUTH)] = Label.SKIN
        masks = np.stack([(labels == one) for one in _CLASSES], -1).astype(np.float32)
        counts += cv2.warpAffine(masks, _to_reference(here, reference), (side, side))
        bins = _colour_bins(small).ravel()
        for number in range(len(_CLASSES)):
            colours[:, number] += np.bincount(bins, masks[..., number].ravel(), minlength=_BINS**3)
    mouth = fit_mouth(frames, list(landmarks))
    return ParsingModel(reference, _place_prior(counts, reference), _colour_likelihood(colours), mouth)


def _place_prior(counts: Floats, reference: Floats) -> Floats:
    share = np.asarray(cv2.GaussianBlur(counts, (0, 0), 2.5), np.float32) + 0.02
    prior = np.log(share / share.sum(-1, keepdims=True))
    right, up = face_coordinates(reference + _BORDER, *prior.shape[:2])
    hair, skin, torso = 1, 2, 3
    # Hair and skin end at the chin, or a jacket turns into hair; below, hair counts as torso and stays as recorded.
    prior[..., hair] -= np.clip((-0.40 - up) / 0.03, 0, 1) * 30 + np.clip((-0.15 - up) / 0.2, 0, 1) * 3
    prior[..., skin] -= np.clip((-0.42 - up) / 0.03, 0, 1) * 30
    prior[..., skin] -= np.clip((np.abs(right) - skin_reach(up)) / 0.05, 0, 1) * 30
    prior[..., torso] -= np.clip((up - shoulder_height(right)) / 0.05, 0, 1) * 30
    return np.asarray(prior, np.float32)


def _colour_likelihood(counts: Floats) -> Floats:
    cube = gaussian_filter(counts.reshape(_BINS, _BINS, _BINS, -1), (0.8, 0.8, 0.8, 0))
    share = cube / np.maximum(cube.sum((0, 1, 2)), 1) + 1e-6
    return np.asarray(np.log(share).reshape(_BINS**3, -1), np.float32)


def _colour_bins(rgb: Picture) -> npt.NDArray[np.int32]:
    """[H, W, 3] -> [H, W] bin numbers: lightness in steps of 8, chroma in steps of 4 (skin and hair lie close)."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int32)
    chroma = np.clip((lab[..., 1:] - 64) >> 2, 0, _BINS - 1)
    return np.asarray(((lab[..., 0] >> 3) * _BINS + chroma[..., 0]) * _BINS + chroma[..., 1], np.int32)


def _to_reference(landmarks: Floats, reference: Floats) -> npt.NDArray[np.float64]:
    matrix = similarity(landmarks, reference)
    matrix[:, 2] += _BORDER
    return matrix


def parse_film(
    model: ParsingModel,
    frames: Film,
    landmarks: npt.NDArray[np.floating],
    span: range,
    segmenter: PersonSegmenter,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Labels of the frames of `span`, in order, each steadied by the frames before and after it.

    The neighbours' colours and person masks, brought over by the face's motion, count half as much in all as the
    frame's own. Nothing depends on where a span begins or ends, and nothing lags behind.

    Args:
        model: of this film.
        frames: `frames[f]` is a picture [S, S, 3]; one shot.
        landmarks: [T, 478, 2+] pixels.
        span: frames to parse; the one before and the one after are read too, where the film has them.
        segmenter: where the person is; not used by two threads at a time.

    Yields:
        [S, S] values of `Label`.
    """
    known: dict[int, _Evidence] = {}
    for number in span:
        near = range(max(0, number - 1), min(len(landmarks), number + 2))
        for one in near:
            if one not in known:
                known[one] = _evidence(model, np.asarray(frames[one]), landmarks[one], segmenter)
        known = {one: known[one] for one in near}
        steady = _steadied(known[number], [known[one] for one in near if one != number])
        yield _decide(model, known[number], steady, landmarks[number])


class Film(Protocol):
    """Pictures by number."""

    def __getitem__(self, number: int, /) -> Picture: ...


@dataclass(frozen=True)
class _Evidence:
    """What one frame shows, at the working size."""

    picture: Picture
    """[S, S, 3] at its own size."""
    here: Floats
    """[478, 2] landmarks at the working size."""
    scores: Floats
    """[256, 256, 4] what colours and person mask say of each class, without the place."""


def _evidence(
    model: ParsingModel, frame: Picture, landmarks: npt.NDArray[np.floating], segmenter: PersonSegmenter
) -> _Evidence:
    small = scaled_picture(frame, SIDE)
    scores = _COLOUR_WEIGHT * model.colour[_colour_bins(small)]
    person = np.clip(segmenter.probability(small), 0.02, 0.98)
    odds = _PERSON_WEIGHT * np.log(person / (1 - person))
    scores[..., 0] -= odds
    scores[..., 1:] += odds[..., None]
    return _Evidence(frame, landmarks[:, :2].astype(np.float32) * (SIDE / frame.shape[0]), scores)


def _steadied(own: _Evidence, others: list[_Evidence]) -> Floats:
    scores = own.scores.copy()
    for other in others:
        moved = cv2.warpAffine(
            other.scores, similarity(other.here, own.here), (SIDE, SIDE),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        scores += _NEIGHBOUR_WEIGHT * (np.asarray(moved, np.float32) - own.scores)
    return scores


def _decide(
    model: ParsingModel, evidence: _Evidence, scores: Floats, landmarks: npt.NDArray[np.floating]
) -> npt.NDArray[np.uint8]:
    side, here = evidence.picture.shape[0], evidence.here
    scores += cv2.warpAffine(
        model.place, _to_reference(here, model.reference), (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    scores = np.asarray(cv2.GaussianBlur(scores, (0, 0), 1), np.float32)
    _, up = face_coordinates(here, SIDE, SIDE)
    hair = scores.argmax(-1) == 1
    stray = hair & ~hanging_hair(hair, up)
    clothes = stray & (up < 0)
    scores[..., 3][clothes] = scores[..., 1][clothes]
    scores[..., 1][stray] = _NEVER
    coarse = scores.argmax(-1).astype(np.uint8)
    _drop_islands(coarse, scores, polygon(here, FACE_OVAL, SIDE, SIDE))
    fine = cv2.resize(scores, (side, side), interpolation=cv2.INTER_LINEAR)
    labels = _with_face(fine.argmax(-1), landmarks, side)
    labels[mouth_interior(model.mouth, evidence.picture, landmarks)] = Label.MOUTH
    return labels


def _drop_islands(coarse: Picture, scores: Floats, face: npt.NDArray[np.bool_]) -> None:
    """Forbid, in `scores`, head pixels that don't hang together with the face, skin amid hair, and crumbs of torso."""
    _, parts = cv2.connectedComponents(((coarse == 2) | face).astype(np.uint8))
    bare = (coarse == 2) & ~np.isin(parts, np.unique(parts[face]))
    scores[..., 2][bare] = _NEVER
    head = ((coarse == 1) | (coarse == 2) | face).astype(np.uint8)
    _, parts = cv2.connectedComponents(head)
    inside = np.bincount(parts[face], minlength=int(parts.max()) + 1)
    inside[0] = 0
    astray = (head > 0) & (parts != inside.argmax())
    scores[..., 1:3][astray] = _NEVER
    _, parts, stats, _ = cv2.connectedComponentsWithStats((coarse == 3).astype(np.uint8))
    small = np.nonzero(stats[:, cv2.CC_STAT_AREA] < _SMALLEST_TORSO)[0]
    scores[..., 3][np.isin(parts, small[small > 0])] = _NEVER


def _with_face(classes: npt.NDArray[np.int64], landmarks: npt.NDArray[np.floating], side: int) -> npt.NDArray[np.uint8]:
    labels = np.array(_CLASSES, np.uint8)[classes]
    face, hair = polygon(landmarks, FACE_OVAL, side, side), labels == Label.HAIR
    labels[face & ~hair] = Label.SKIN
    # A fringe may cover the forehead and strands the cheeks' rim; dark spots further in, or by themselves, are eyes.
    _, parts = cv2.connectedComponents(hair.astype(np.uint8))
    labels[face & hair & ~np.isin(parts, np.unique(parts[hair & ~face]))] = Label.SKIN
    oval = landmarks[list(FACE_OVAL), :2]
    inner = landmarks.copy()
    inner[list(FACE_OVAL), :2] = oval.mean(0) + _INNER_FACE * (oval - oval.mean(0))
    _, up = face_coordinates(landmarks, side, side)
    labels[polygon(inner, FACE_OVAL, side, side) & (up < _FRINGE_HEIGHT)] = Label.SKIN
    labels[polygon(landmarks, LIPS_OUTER, side, side)] = Label.LIPS
    return labels
