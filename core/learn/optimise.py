"""The two optimisers of a branch: Adam over its Gaussians, whose rows come and go, and AdamW over its motion field.

Learning rates are those of the facts sheet, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.avatar import Gaussians
from core.avatar.aligner import MotionAligner
from core.avatar.encoding import SpeechEncoder, Triplane
from core.learn.density import Revision
from core.splat import AdamTensor, adam_step

RATES = {"quaternions": 1e-3, "scales": 3e-3, "opacities": 5e-2, "colors": 7e-4}
"""Colours: 2.5e-3 on spherical-harmonics coefficients is 7e-4 on colours."""
POSITION_DECAY = 0.01
BETAS = (0.9, 0.999)
EPSILON = 1e-15
FIELD_RATES = {
    "grid": (5e-3, 1e-2),
    "speech": (2.5e-3, 1e-4),
    "rest": (5e-4, 0.0),
    "aligner_grid": (1e-3, 1e-2),
    "aligner": (1e-4, 0.0),
}
"""Learning rate and weight decay by kind of parameter."""
FIELD_BETAS = (0.9, 0.99)
FIELD_EPSILON = 1e-8


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
        moving = [
            AdamTensor(value.detach(), value.grad, self.first[name], self.second[name], rates[name])
            for name, value in gaussians.tensors().items()
            if value.grad is not None and name in rates
        ]
        adam_step(moving, self.steps, BETAS, EPSILON)
        for value in gaussians.tensors().values():
            value.grad = None

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

    def ordered(self, gaussians: Gaussians, order: Tensor) -> Gaussians:
        """The Gaussians in another order, rows [N], with moments that fit."""
        for moments in (self.first, self.second):
            moments.update({name: moment[order] for name, moment in moments.items()})
        return gaussians.chosen(order).trainable()


def structure_rates(position_rate: float, progress: float) -> dict[str, float]:
    """Learning rates of all Gaussian parameters at a progress of 0..1."""
    return {"means": position_rate * POSITION_DECAY**progress, **RATES}


class FieldAdamW:
    """AdamW (Loshchilov & Hutter 2019) with a rate and a weight decay for grids, speech network and the rest.

    torch's own would do, but importing it loads the whole compiler: seconds that a one-minute adaptation notices.
    """

    def __init__(self, field: nn.Module) -> None:
        """Parameters that want no gradient are left alone."""
        self.groups = _field_groups(field)
        self.first = [torch.zeros_like(p) for group in self.groups for p in group.parameters]
        self.second = [torch.zeros_like(p) for group in self.groups for p in group.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step at `factor` times the groups' own rates; then all gradients are dropped."""
        self.steps += 1
        parameters = [(group, parameter) for group in self.groups for parameter in group.parameters]
        state = zip(parameters, self.first, self.second, strict=True)
        moving = [
            AdamTensor(parameter.detach(), parameter.grad, first, second, group.rate * factor, group.decay)
            for (group, parameter), first, second in state
            if parameter.grad is not None
        ]
        adam_step(moving, self.steps, FIELD_BETAS, FIELD_EPSILON)
        for _, parameter in parameters:
            parameter.grad = None


@dataclass(frozen=True)
class _Group:
    parameters: list[Tensor]
    rate: float
    decay: float


def _field_groups(field: nn.Module) -> list[_Group]:
    kinds: dict[str, list[Tensor]] = {"grid": [], "speech": [], "rest": [], "aligner_grid": [], "aligner": []}
    owner: dict[int, str] = {}
    for module in field.modules():
        if isinstance(module, Triplane | SpeechEncoder):
            owner |= {id(p): "grid" if isinstance(module, Triplane) else "speech" for p in module.parameters()}
    for module in field.modules():
        if isinstance(module, MotionAligner):
            owner |= {id(p): "aligner_grid" if owner.get(id(p)) else "aligner" for p in module.parameters()}
    for parameter in field.parameters():
        if parameter.requires_grad:
            kinds[owner.get(id(parameter), "rest")].append(parameter)
    return [_Group(kinds[kind], rate, decay) for kind, (rate, decay) in FIELD_RATES.items() if kinds[kind]]


def field_factor(progress: float) -> float:
    """Factor on the field's rates: one for the first 30 %, then down to a fifth."""
    return 1.0 if progress < 0.3 else float(0.2 ** ((progress - 0.3) / 0.7))
