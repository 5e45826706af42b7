"""The two optimisers of a branch: Adam over its Gaussians, whose rows come and go, and AdamW over its motion field.

Learning rates are those of the facts sheet, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.avatar import Gaussians
from core.avatar.encoding import SpeechEncoder, Triplane
from core.learn.density import Revision

RATES = {"quaternions": 1e-3, "scales": 3e-3, "opacities": 5e-2, "colors": 7e-4}
"""Colours: 2.5e-3 on spherical-harmonics coefficients is 7e-4 on colours."""
POSITION_DECAY = 0.01
BETAS = (0.9, 0.999)
EPSILON = 1e-15


class GaussianAdam:
    """Adam (eps 1e-15) with moments that follow density control."""

    def __init__(self, gaussians: Gaussians) -> None:
        self.first = {name: torch.zeros_like(value) for name, value in gaussians.tensors().items()}
        self.second = {name: torch.zeros_like(value) for name, value in gaussians.tensors().items()}
        self.steps = 0

    @torch.no_grad()
    def step(self, gaussians: Gaussians, rates: dict[str, float]) -> None:
        """One step on the parameters named in `rates`; then all gradients are dropped."""
        self.steps += 1
        bias1, bias2 = 1 - BETAS[0] ** self.steps, 1 - BETAS[1] ** self.steps
        for name, value in gaussians.tensors().items():
            gradient = value.grad
            value.grad = None
            if gradient is None or name not in rates:
                continue
            first, second = self.first[name], self.second[name]
            first.lerp_(gradient, 1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            value.addcdiv_(first, (second / bias2).sqrt_().add_(EPSILON), value=-rates[name] / bias1)

    def apply(self, gaussians: Gaussians, revision: Revision) -> Gaussians:
        """The Gaussians after a round of density control, with moments that fit."""
        added = revision.added.tensors()
        values = {}
        for name, value in gaussians.tensors().items():
            fresh = torch.zeros_like(added[name])
            self.first[name] = torch.cat([self.first[name][revision.keep], fresh])
            self.second[name] = torch.cat([self.second[name][revision.keep], fresh])
            values[name] = torch.cat([value.detach()[revision.keep], added[name]])
        return Gaussians(**values).trainable()


def structure_rates(position_rate: float, progress: float) -> dict[str, float]:
    """Learning rates of all Gaussian parameters at a progress of 0..1."""
    return {"means": position_rate * POSITION_DECAY**progress, **RATES}


def field_optimiser(field: nn.Module) -> torch.optim.AdamW:
    """AdamW with a group each for grids (5e-3), speech network (2.5e-3) and the rest (5e-4)."""
    grids: list[Tensor] = []
    speech: list[Tensor] = []
    for module in field.modules():
        if isinstance(module, Triplane):
            grids += list(module.parameters())
        elif isinstance(module, SpeechEncoder):
            speech += list(module.parameters())
    taken = {id(p) for p in grids + speech}
    rest = [p for p in field.parameters() if id(p) not in taken]
    groups = [
        {"params": grids, "lr": 5e-3, "weight_decay": 1e-2},
        {"params": speech, "lr": 2.5e-3, "weight_decay": 1e-4},
        {"params": rest, "lr": 5e-4, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    for group in optimiser.param_groups:
        group["base"] = group["lr"]
    return optimiser


def schedule_field(optimiser: torch.optim.AdamW, progress: float) -> None:
    """Full rate for the first 30 %, then down to a fifth."""
    factor = 1.0 if progress < 0.3 else 0.2 ** ((progress - 0.3) / 0.7)
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * factor
