"""The motion fields of face and mouth: how far each Gaussian moves for this speech and expression. Knows no pictures.

Facts sheet, sections 2.3 and 2.4; all multilayer perceptrons are bias-free with ReLU. The opacity output that the
official code predicts and never applies does not exist here, nor do the mouth's unused rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.avatar.aligner import MotionAligner
from core.avatar.encoding import FEATURES, SPEECH_CODE, SpeechEncoder, Triplane, weight
from core.avatar.lids import empty_lids, lid_displacement
from core.splat import mlp, mlp_split

EXPRESSION = 6
HOOK = 3
OUTPUTS = (3, 4, 3)
"""Widths of what a face field answers: translation, rotation, scale."""
METRES = 1e-2
"""Scale of predicted translations."""


@dataclass(frozen=True)
class Motion:
    """Deformation of N Gaussians, added to their raw parameters."""

    translation: Tensor
    """[N, 3] metres."""
    rotation: Tensor | None = None
    """[N, 4] added to the quaternion before it is normalised."""
    scale: Tensor | None = None
    """[N, 3] added before softplus."""

    def padded(self, count: int) -> Motion:
        """The same, of the first of `count` Gaussians; the others stand still."""
        beyond = (0, 0, 0, count - self.translation.shape[0])
        if not any(beyond):
            return self
        rotation = None if self.rotation is None else F.pad(self.rotation, beyond)
        scale = None if self.scale is None else F.pad(self.scale, beyond)
        return Motion(F.pad(self.translation, beyond), rotation, scale)


@dataclass(frozen=True)
class FaceFeatures:
    """What the face field knows of its points whatever is said: computed once for a still structure field."""

    grid: Tensor
    """[N, 36]"""
    speech_gate: Tensor
    """[N, 32] region attention on the speech code."""
    expression_gate: Tensor
    """[N, 6] region attention on the expression."""
    gain: Tensor | None
    """[N, 3] the aligner's gain on translations; None without an aligner."""
    lids: Tensor | None
    """[N, 3] metres by which a full blink moves the points; None where the field has no lids of its own."""


class FaceField(nn.Module):
    """Region-attended motion of the face branch: translation, rotation and scale (facts sheet, 2.3)."""

    lids: Tensor | None
    """[3, ROWS, COLUMNS] how this person's lids close (core.avatar.lids)."""

    def __init__(self, hidden: int = 64, *, aligned: bool = False, lids: bool = False) -> None:
        """Args:
        hidden: width of the network's middle layers.
        aligned: query a universal field through this person's motion aligner.
        lids: blinks are this person's own; their map is to be filled in.
        """
        super().__init__()
        self.register_buffer("lids", empty_lids() if lids else None)
        self.aligner = MotionAligner() if aligned else None
        self.grid = Triplane(16, 38.4)
        self.speech = SpeechEncoder()
        self.speech_gate = nn.ParameterList([weight(FEATURES, 32), weight(32, SPEECH_CODE)])
        self.expression_gate = nn.ParameterList([weight(FEATURES, 16), weight(16, EXPRESSION)])
        self.expression = nn.ParameterList([weight(EXPRESSION - 1, 16), weight(16, EXPRESSION - 1)])
        width = FEATURES + SPEECH_CODE + EXPRESSION
        self.layers = nn.ParameterList([weight(width, hidden), weight(hidden, hidden), weight(hidden, 10)])

    def features(self, points: Tensor) -> FaceFeatures:
        """[N, 3] metres -> grid features at the (aligned) points, both gates, and the aligner's gain."""
        gain, lids = None, None if self.lids is None else lid_displacement(self.lids, points)
        if self.aligner is not None:
            offset, gain = self.aligner(points)
            points = points + offset
        grid = self.grid(points)
        speech_gate = mlp(grid, list(self.speech_gate))
        return FaceFeatures(grid, speech_gate, mlp(grid, list(self.expression_gate)).relu(), gain, lids)

    def conditions(self, windows: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 8, 16, 64] and [B, 6] -> speech codes [B, 32] and expression codes [B, 6]."""
        return self.speech(windows), self.expression_code(expression)

    def expression_code(self, expression: Tensor) -> Tensor:
        """[B, 6] -> [B, 6]; blinks pass unchanged."""
        hidden, out = self.expression
        upper = torch.relu(expression[:, :5] @ hidden.t()) @ out.t()
        return torch.cat([upper, expression[:, 5:]], dim=1)

    def condition(self, windows: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """The codes of one frame: [8, 16, 64] and [6] -> [32] and [6]."""
        speech, upper = self.conditions(windows[None], expression[None])
        return speech[0], upper[0]

    def move(self, features: FaceFeatures, speech: Tensor, expression: Tensor) -> Motion:
        """Motion of the N points of `features` for one frame's codes.

        A code multiplies one column of all points' gates: for many points and one frame it is cheaper on the weights.
        """
        first, *rest = self.layers
        codes = torch.cat([speech.new_ones(FEATURES), speech, expression])
        inputs = [features.grid, features.speech_gate, features.expression_gate]
        along, turned, grown = mlp_split(inputs, [first * codes, *rest], OUTPUTS)
        return Motion(translations(along, features, expression[None]), turned, grown)

    def outputs(self, features: FaceFeatures, speech: Tensor, expression: Tensor) -> tuple[Tensor, ...]:
        """The network's raw answers [B * N, 3], [B * N, 4], [B * N, 3] for codes [B, 32] and [B, 6], frame by frame."""
        batch, count = speech.shape[0], features.grid.shape[0]
        inputs = torch.cat(
            [
                features.grid.expand(batch, count, FEATURES),
                features.speech_gate * speech[:, None],
                features.expression_gate * expression[:, None],
            ],
            dim=2,
        )
        return mlp_split(inputs.view(batch * count, inputs.shape[2]), list(self.layers), OUTPUTS)

    def translated(self, features: FaceFeatures, windows: Tensor, expression: Tensor) -> Tensor:
        """Metres [B * N, 3] that the N points of `features` move in frames of [B, 8, 16, 64] and [B, 6]."""
        speech, upper = self.conditions(windows, expression)
        return translations(self.outputs(features, speech, upper)[0], features, upper)

    def forward(self, points: Tensor, windows: Tensor, expression: Tensor) -> Motion:
        """Motion of [N, 3] points for one frame's speech windows [8, 16, 64] and expression [6]."""
        return self.move(self.features(points), *self.condition(windows, expression))


def translations(along: Tensor, features: FaceFeatures, expression: Tensor) -> Tensor:
    """Metres [B * N, 3] from a face field's first answer [B * N, 3], with the aligner's gain and the lids' motion.

    Args:
        along: of `FaceField.outputs`.
        features: of the N points.
        expression: [B, 6] codes of the frames; blinks are the last.
    """
    gain = None if features.gain is None else features.gain.repeat(len(expression), 1)
    moved = along * (METRES if gain is None else METRES * gain)
    if features.lids is not None:
        moved = moved + (expression[:, -1, None, None] * features.lids).view(-1, 3)
    return moved


class MouthField(nn.Module):
    """Motion of the mouth's interior: translation only, driven by speech and the face-mouth hook (facts sheet, 2.4)."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.grid = Triplane(64, 57.6)
        self.speech = SpeechEncoder()
        width = FEATURES + SPEECH_CODE + HOOK
        self.layers = nn.ParameterList([weight(width, hidden), weight(hidden, hidden), weight(hidden, 3)])
        with torch.no_grad():
            self.layers[-1].mul_(0.1)  # no gate holds speech back here as the face's do: what is untrained lies still
        self.scaler = nn.ParameterList([weight(FEATURES + HOOK, 16), weight(16, 16), weight(16, 1)])
        self.register_buffer("metres", METRES * torch.tensor([0.2, 1.0, 0.2]), persistent=False)

    metres: Tensor

    @torch.no_grad()
    def unhook(self) -> None:
        """Cut the hook off: its weights are zero, and stay so while it is trained with a hook of zeros."""
        self.layers[0][:, -HOOK:] = 0
        self.scaler[0][:, -HOOK:] = 0

    def features(self, points: Tensor) -> Tensor:
        """[N, 3] metres -> [N, 36] grid features; the mouth has no region attention."""
        features: Tensor = self.grid(points)
        return features

    def move(self, features: Tensor, speech: Tensor, hook: Tensor) -> Motion:
        """Motion of the N points for a speech code [32] and a hook [3]."""
        count = features.shape[0]
        joint = hook.expand(count, HOOK)
        out = mlp([features, speech.expand(count, SPEECH_CODE), joint], list(self.layers))
        gain = 2 * torch.sigmoid(mlp([features, joint], list(self.scaler)))
        return Motion(out * self.metres * gain)

    def forward(self, points: Tensor, windows: Tensor, hook: Tensor) -> Motion:
        """Motion of [N, 3] points for one frame's speech windows [8, 16, 64] and hook [3]."""
        return self.move(self.features(points), self.speech(windows[None])[0], hook)


HOOK_RANK = 10
"""k of the k-th extreme at inference; robust to single outliers."""
HOOK_RANKS = 50
"""Mouth training draws k from 10..50 (facts sheet, 2.6)."""


HOOK_TOP = -0.03
"""Metres, head space: below the lids' map. Lids and brows move further than lips, and not with the mouth."""


def hook_rows(points: Tensor) -> Tensor:
    """[M] which of the face branch's points [N, 3] (metres, at rest) the hook looks at; all where none lies so low."""
    below = points.detach()[:, 1] < HOOK_TOP
    return torch.nonzero(below if bool(below.any()) else torch.ones_like(below))[:, 0]


def hook_extremes(motion: Motion, rows: Tensor, ranks: int = HOOK_RANKS) -> tuple[Tensor, Tensor]:
    """The largest and smallest vertical motions of these rows of the face branch, sorted outwards in, detached.

    One convention for training and inference: the face branch's final motion, its own expression included (the
    official code zeroes the expression in training only; facts sheet, 2.6), and of what lies below the eyes (the
    official code looks at all; docs/learning.md says what that costs).

    Returns:
        Two [ranks] tensors, metres.
    """
    vertical = motion.translation.detach()[rows, 1]
    ranks = min(ranks, vertical.shape[0])
    return torch.topk(vertical, ranks).values, -torch.topk(-vertical, ranks).values


def face_mouth_hook(highest: Tensor, lowest: Tensor, rank: int = HOOK_RANK) -> Tensor:
    """Hook features [3]: 100 x (k-th highest, k-th lowest, their distance), the paper's equations 10-11."""
    k = min(rank, highest.shape[0]) - 1
    return 100 * torch.stack([highest[k], lowest[k], highest[k] - lowest[k]])
