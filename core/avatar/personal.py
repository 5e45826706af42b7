"""Personalised fields: what one person's motion adds to the universal one while many are learned (paper, equation 5).

Smaller than the universal fields, so that what people share costs least where it is shared; facts sheet, section 2.5.
They serve pre-training only: an adapted avatar has a motion aligner in their place. Knows no losses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.avatar.encoding import FEATURES, SPEECH_CODE, SpeechEncoder, Triplane, weight
from core.avatar.motion import HOOK, METRES, FaceField, Motion
from core.splat import mlp

FACE_HIDDEN = 32
MOUTH_HIDDEN = 16


class PersonalFaceField(FaceField):
    """One person's residual of the face: a `FaceField` of half the width.

    About zero at the start, because the grid's features start within 1e-4 of zero.
    """

    def __init__(self) -> None:
        super().__init__(FACE_HIDDEN)


class PersonalMouthField(nn.Module):
    """One person's residual of the mouth's interior: translation only; region-attended, unlike the universal field."""

    metres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.grid = Triplane(16, 38.4)
        self.speech = SpeechEncoder()
        self.speech_gate = nn.ParameterList([weight(FEATURES, 32), weight(32, SPEECH_CODE)])
        width = FEATURES + SPEECH_CODE + HOOK
        hidden = MOUTH_HIDDEN
        self.layers = nn.ParameterList([weight(width, hidden), weight(hidden, hidden), weight(hidden, 3)])
        self.register_buffer("metres", METRES * torch.tensor([0.2, 1.0, 0.2]), persistent=False)

    def forward(self, points: Tensor, windows: Tensor, hook: Tensor) -> Motion:
        """Motion of [N, 3] points for one frame's speech windows [8, 16, 64] and hook [3]."""
        count = points.shape[0]
        grid = self.grid(points)
        speech = mlp(grid, list(self.speech_gate)) * self.speech(windows[None])
        return Motion(mlp(torch.cat([grid, speech, hook.expand(count, HOOK)], dim=1), list(self.layers)) * self.metres)


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
