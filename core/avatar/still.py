"""The motion fields of a finished avatar: everything that no speech changes is computed once. For inference only.

The structure field stands still, so grid features, region attention and the aligner are constants; the part of each
network's first layer that reads them is a constant too. It must give what `motion.py` gives, up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.avatar.encoding import FEATURES, SPEECH_CODE
from core.avatar.motion import FaceField, Motion, MouthField, translations
from core.splat import mlp, mlp_from


class StillFace:
    """A face field at fixed points."""

    def __init__(self, field: FaceField, points: Tensor) -> None:
        """`points` [N, 3] metres: the face branch's means."""
        self._field = field
        with torch.no_grad():
            self._features = field.features(points)
            first = field.layers[0]
            self._constant = self._features.grid @ first[:, :FEATURES].t()
            self._gates = torch.cat([self._features.speech_gate, self._features.expression_gate], dim=1)
            self._gated = first[:, FEATURES:].contiguous()

    @torch.no_grad()
    def move(self, speech: Tensor, expression: Tensor) -> Motion:
        """Motion for one frame's speech code [32] and expression [6]."""
        codes = torch.cat([speech, self._field.expression_code(expression[None])[0]])
        layers = [self._gated * codes, *list(self._field.layers)[1:]]
        out = mlp_from(self._constant, self._gates, layers)
        return Motion(translations(out, self._features), out[:, 3:7], out[:, 7:10])


class StillMouth:
    """A mouth field at fixed points."""

    def __init__(self, field: MouthField, points: Tensor) -> None:
        """`points` [N, 3] metres: the mouth branch's means."""
        self._field = field
        with torch.no_grad():
            features = field.features(points)
            self._constant = features @ field.layers[0][:, :FEATURES].t()
            self._gain_constant = features @ field.scaler[0][:, :FEATURES].t()

    @torch.no_grad()
    def move(self, speech: Tensor, hook: Tensor) -> Motion:
        """Motion for one frame's speech code [32] and hook [3]."""
        field = self._field
        said = torch.cat([speech, hook])
        hidden = (self._constant + field.layers[0][:, FEATURES:] @ said).relu_()
        out = mlp(hidden, list(field.layers)[1:])
        hidden = (self._gain_constant + field.scaler[0][:, FEATURES:] @ said[SPEECH_CODE:]).relu_()
        gain = 2 * torch.sigmoid(mlp(hidden, list(field.scaler)[1:]))
        return Motion(out * field.metres * gain)
