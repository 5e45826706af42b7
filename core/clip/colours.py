"""Which colours hair, skin and clothes have in one picture: small mixtures of normal distributions in LAB.

The first, rough parsing of a key frame; `parsing` learns the clip's own model from several of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.canonical import FACE_OVAL, LIPS_INNER, LIPS_OUTER
from core.clip.face_frame import face_coordinates, hanging_hair, polygon, shoulder_height, skin_reach
from core.clip.layout import Label

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_UNKNOWN = -50.0
_MOST_SAMPLES = 4000


@dataclass(frozen=True)
class _Component:
    weight: float
    mean: Floats
    inverse: Floats
    log_determinant: float

    def distance(self, colours: Floats) -> Floats:
        """Squared Mahalanobis distance of [..., 3]."""
        offset = colours - self.mean
        return np.asarray(((offset @ self.inverse) * offset).sum(-1))


def _mixture(samples: Floats, components: int, floor: float) -> list[_Component]:
    """Clusters of [n, 3] colours; `floor` is added to each variance. Empty where there are too few samples."""
    if len(samples) < 50:
        return []
    chosen = np.random.default_rng(0).permutation(len(samples))[:_MOST_SAMPLES]
    samples = np.ascontiguousarray(samples[chosen])
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 1.0)
    unassigned = np.zeros((len(samples), 1), np.int32)
    _, found_groups, found_centres = cv2.kmeans(samples, components, unassigned, stop, 2, cv2.KMEANS_PP_CENTERS)
    assigned, centres = np.asarray(found_groups), np.asarray(found_centres, np.float32)
    found = []
    for number in range(components):
        group = samples[assigned[:, 0] == number]
        if len(group) >= 10:
            covariance = np.cov(group.T) + np.eye(3) * floor
            inverse = np.linalg.inv(covariance).astype(np.float32)
            log_determinant = float(np.linalg.slogdet(covariance)[1])
            found.append(
                _Component(float(np.log(len(group) / len(samples))), centres[number], inverse, log_determinant)
            )
    return found


def _likelihood(mixture: list[_Component], colours: Floats) -> Floats:
    if not mixture:
        return np.full(colours.shape[:-1], _UNKNOWN, np.float32)
    each = [one.weight - 0.5 * (one.distance(colours) + one.log_determinant) for one in mixture]
    return np.asarray(np.max(each, axis=0), np.float32)


def rough_labels(
    rgb: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating], person: Floats
) -> npt.NDArray[np.uint8]:
    """Labels [H, W] of one picture [H, W, 3] with one face, from its colours and where they lie about the face.

    Args:
        rgb: sRGB.
        landmarks: [478, 2+] pixels of this picture.
        person: [H, W] probability of a person.
    """
    height, width = rgb.shape[:2]
    right, up = face_coordinates(landmarks, height, width)
    face, lips = polygon(landmarks, FACE_OVAL, height, width), polygon(landmarks, LIPS_OUTER, height, width)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    present = person > 0.5
    core = (cv2.erode(face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~lips
    skin = _mixture(lab[core], 3, 16)
    overall = _mixture(lab[core], 1, 9)
    unlike_skin = overall[0].distance(lab) > 9 if overall else np.ones_like(face)
    above = present & ~face & (up > 0.45) & (up < 1.0) & (np.abs(right) < 0.6) & unlike_skin
    hair = _mixture(lab[above], 3, 16)
    torso = _mixture(lab[present & (up < -1.15)], 4, 16)
    scores = np.stack([_likelihood(one, lab) for one in (hair, skin, torso)], -1)
    scores[..., 0] += np.where(up > -0.45, 0, -6 * np.clip((-0.45 - up) / 0.5, 0, 1) - 2 * (up < -0.9))
    scores[..., 0] += np.where(up > 0.5, 6, 0)
    scores[..., 1] += np.where(up > 0.55, -8, 0) + np.where(np.abs(right) > skin_reach(up), -12, 0)
    scores[..., 2] += np.where(up > shoulder_height(right) - 0.15, -12, 0)
    scores = np.asarray(cv2.GaussianBlur(scores, (0, 0), 1), np.float32)
    classes = np.array([Label.HAIR, Label.SKIN, Label.TORSO], np.uint8)
    labels = np.where(present, classes[scores.argmax(-1)], np.uint8(Label.BACKGROUND))
    fringe = face & (up > 0.2) & (scores[..., 0] - scores[..., 1] > 2)
    labels[face & ~fringe] = Label.SKIN
    labels[fringe] = Label.HAIR
    stray = (labels == Label.HAIR) & ~hanging_hair(labels == Label.HAIR, up)
    labels[stray] = np.where(up[stray] < shoulder_height(right)[stray], np.uint8(Label.TORSO), np.uint8(Label.SKIN))
    low = (up < -0.42) & ~face & ((labels == Label.SKIN) | (labels == Label.HAIR))
    labels[low] = Label.TORSO
    labels[lips] = Label.LIPS
    labels[polygon(landmarks, LIPS_INNER, height, width)] = Label.MOUTH
    return np.asarray(labels, np.uint8)
