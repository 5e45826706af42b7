"""The personalised field: what one person's motion adds to the universal one while many are learned (equation 5).

Smaller than the universal field, so that what people share costs least where it is shared; facts sheet, section 2.5. It
serves pre-training only: an adapted avatar has a motion aligner in its place. Knows no losses.
"""

from __future__ import annotations

from torch import Tensor

from core.avatar.motion import FaceField, Motion, MouthField

FACE_HIDDEN = 32
MOUTH_HIDDEN = 16


class PersonalFaceField(FaceField):
    """One person's residual of the face: a `FaceField` of half the width.

    About zero at the start, because the grid's features start within 1e-4 of zero.
    """

    def __init__(self) -> None:
        super().__init__(FACE_HIDDEN)


class PersonalMouthField(MouthField):
    """One person's residual of the mouth: a `MouthField` of half the width."""

    def __init__(self) -> None:
        super().__init__(MOUTH_HIDDEN)


def deformation(universal: Motion, personal: Motion | None) -> Motion:
    """Equation 5: the universal motion plus one person's own; the universal motion itself without one.

    A part that one of the two lacks is taken from the other.
    """
    if personal is None:
        return universal
    return Motion(
        universal.translation + personal.translation,
        _sum(universal.rotation, personal.rotation),
        _sum(universal.scale, personal.scale),
    )


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other
