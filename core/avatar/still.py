"""The motion fields and structure of a finished avatar: what no speech changes is computed once. For inference only.

The structure field stands still, so grid features, region attention and the aligner are constants; the part of each
network's first layer that reads them is a constant too. It must give what `motion.py` gives, up to rounding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from core.avatar.drawing import draw_moved, moved
from core.avatar.encoding import FEATURES
from core.avatar.gaussians import Gaussians
from core.avatar.motion import FaceField, Motion, MouthField, translations
from core.camera import Camera
from core.splat import Rasterization, mlp_from


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
            *self._middle, last = list(field.layers)[1:]
            self._turns = bool(last[3:].any())
            self._last = last if self._turns else last[:3].contiguous()

    @torch.no_grad()
    def move(self, speech: Tensor, expression: Tensor) -> Motion:
        """Motion for one frame's speech code [32] and expression [6]; without what a field never answers."""
        codes = torch.cat([speech, self._field.expression_code(expression[None])[0]])
        out = mlp_from(self._constant, self._gates, [self._gated * codes, *self._middle, self._last])
        along = translations(out[:, :3], self._features, codes[None])
        return Motion(along, out[:, 3:7], out[:, 7:10]) if self._turns else Motion(along)


class StillMouth:
    """A mouth field at fixed points."""

    def __init__(self, field: MouthField, points: Tensor) -> None:
        """`points` [N, 3] metres: the mouth branch's means."""
        self._metres = field.metres
        with torch.no_grad():
            features = field.features(points)
            self._moves = _Constant(list(field.layers), features)
            self._gains = _Constant(list(field.scaler), features)

    @torch.no_grad()
    def move(self, speech: Tensor, hook: Tensor) -> Motion:
        """Motion for one frame's speech code [32] and hook [3]."""
        gain = 2 * torch.sigmoid(self._gains.answer(hook))
        return Motion(self._moves.answer(torch.cat([speech, hook])) * self._metres * gain)


class _Constant:
    """A network at fixed points, what else it reads the same for all of them."""

    def __init__(self, layers: list[Tensor], features: Tensor) -> None:
        """`features` [N, 36] of the points, the first inputs of the first layer."""
        first, *self._rest = layers
        self._added = features @ first[:, :FEATURES].t()
        self._said = first[:, FEATURES:].contiguous()
        self._once = features.new_ones(features.shape[0], 1)

    def answer(self, said: Tensor) -> Tensor:
        """[N, out] for the other inputs [K]: they are one more weight, of an input that is 1."""
        return mlp_from(self._added, self._once, [(self._said @ said)[:, None], *self._rest])


class StillDrawing:
    """One branch's Gaussians, their raw parameters activated."""

    def __init__(self, gaussians: Gaussians) -> None:
        self._gaussians, self._rest = gaussians, moved(gaussians, None)
        self.reach = 3 * float(self._rest.scales.amax()) if gaussians.count else 0.0
        """Metres about its mean that the largest Gaussian shows; a mouth that was never seen open may have none."""

    def draw(self, motion: Motion, world_to_camera: Tensor, camera: Camera) -> Rasterization:
        """What `drawing.draw` makes of them, over black."""
        if motion.rotation is not None or motion.scale is not None:
            shape = moved(self._gaussians, motion)
        else:
            shape = replace(self._rest, means=self._gaussians.means + motion.translation)
        return draw_moved(shape, self._gaussians.colors, world_to_camera, camera, None)
