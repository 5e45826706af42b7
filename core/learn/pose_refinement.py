"""The training frames' poses, corrected by the pictures: what tracking gets wrong by half a pixel blurs hair and skin.

Each frame has a rigid motion of its own, applied to the head before it is drawn and learned beside the Gaussians. The
mean of all is pulled to nothing, so that the head stays where tracking looks for it in other frames. Knows no losses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.avatar import Motion

ROTATION_RATE = 1e-3
"""Radians a visit at the start; tracking is off by a few of them."""
TRANSLATION_RATE = 1e-4
"""Metres a visit at the start."""
RATE_DECAY = 0.1
"""Factor on both at the end of the run."""
BETAS = (0.9, 0.99)
EPSILON = 1e-12
CENTRING = 0.01
"""Share of the mean offset that is taken off at every step."""


class PoseRefinement:
    """Offsets of T frames, and Adam's moments for each."""

    def __init__(self, frames: int) -> None:
        """No frame is off yet."""
        self.offsets = torch.zeros(frames, 6)
        """[T, 6] rotation vector in radians, then translation in metres, both in head space."""
        self.first = torch.zeros(frames, 6)
        self.second = torch.zeros(frames, 6)
        self.visits = torch.zeros(frames)
        self._drawn: tuple[int, Tensor] | None = None

    def moved(self, frame: int, means: Tensor, motion: Motion) -> Motion:
        """The motion with this frame's offset on top; its gradient reaches the offset, which `step` then follows.

        Args:
            frame: 0..T-1.
            means: [N, 3] the Gaussians at rest, metres, head space.
            motion: of those Gaussians in this frame.
        """
        offset = self.offsets[frame].clone().requires_grad_(True)
        self._drawn = frame, offset
        turn, shift = _rigid(offset)
        at = (means + motion.translation) @ turn.t() + shift
        return Motion(at - means, motion.rotation, motion.scale)

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Follow the gradient of the frame that was drawn last, at a progress of 0..1 of the run."""
        if self._drawn is None:
            return
        frame, offset = self._drawn
        self._drawn = None
        if offset.grad is None:
            return
        self.visits[frame] += 1
        self.first[frame].lerp_(offset.grad, 1 - BETAS[0])
        self.second[frame].lerp_(offset.grad.square(), 1 - BETAS[1])
        first = self.first[frame] / (1 - BETAS[0] ** self.visits[frame])
        second = self.second[frame] / (1 - BETAS[1] ** self.visits[frame])
        rates = torch.tensor([ROTATION_RATE] * 3 + [TRANSLATION_RATE] * 3) * RATE_DECAY**progress
        self.offsets[frame] -= rates * first / (second.sqrt() + EPSILON)
        self.offsets -= CENTRING * self.offsets.mean(0)

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs."""
        return {name: getattr(self, name) for name in ("offsets", "first", "second", "visits")}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name in self.tensors():
            setattr(self, name, tensors[name])


@torch.no_grad()
def refined(poses: Tensor, offsets: Tensor) -> Tensor:
    """Poses that put the head where the offsets moved it.

    Args:
        poses: [T, 4, 4] head space -> camera space.
        offsets: [T, 6] of a `PoseRefinement`.

    Returns:
        [T, 4, 4]
    """
    corrections = torch.eye(4).repeat(len(poses), 1, 1)
    for correction, offset in zip(corrections, offsets, strict=True):
        correction[:3, :3], correction[:3, 3] = _rigid(offset)
    return poses @ corrections


def _rigid(offset: Tensor) -> tuple[Tensor, Tensor]:
    """[6] -> rotation [3, 3] to second order (offsets are hundredths of a radian) and translation [3]."""
    x, y, z = offset[:3]
    nothing = torch.zeros(())
    cross = torch.stack([nothing, -z, y, z, nothing, -x, -y, x, nothing]).view(3, 3)
    return torch.eye(3) + cross + 0.5 * cross @ cross, offset[3:]
