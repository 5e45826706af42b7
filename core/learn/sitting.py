"""What a loss needs of whoever is learned: a structure, a motion, and a source of frames. Knows no pictures.

A `Branch` has it while one person is adapted; a `Sitting`, one clip among many, while a universal field is learned
from pictures. There the motion is the sum of two fields (equation 5), which `TwoFields` is for the time of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.avatar import Gaussians, Motion
from core.avatar.personal import deformation
from core.learn.contrast import MILLIMETRES, negative_contrast
from core.learn.optimise import GaussianAdam
from core.splat import Rasterization

Field = Callable[[Tensor, Tensor, Tensor], Motion]
"""Points [N, 3], speech windows [8, 16, 64] and expression [6] (face) or hook [3] (mouth) -> motion."""
CONTRAST_APART = 4
"""Others are asked at every fourth point only: a structure's points come in no order, so these are a fair sample."""


class Learning(Protocol):
    """One branch of one person while it learns."""

    @property
    def gaussians(self) -> Gaussians:
        """The structure."""

    @property
    def field(self) -> Field:
        """How it moves."""

    @property
    def moving(self) -> int | None:
        """How many Gaussians the field moves, from the first on; None: all."""

    @property
    def generator(self) -> torch.Generator:
        """The only source of randomness."""

    @property
    def iteration(self) -> int:
        """Steps so far."""

    def next_frame(self, count: int) -> int:
        """One of frames 0..count-1, each as often as any other."""

    def draw_from(self, frames: list[int]) -> int:
        """One of the given frames."""


FrameLoss = Callable[[Learning], tuple[Tensor, Rasterization]]
"""Picks a frame, draws it, and says how far it is from the recorded one."""


class TwoFields:
    """Equation 5 for one step: universal field plus this person's own, and the contrast of that one with others'."""

    def __init__(self, universal: Field, personal: Field | None = None, partners: tuple[Field, ...] = ()) -> None:
        """Args:
        universal: everyone's field.
        personal: this person's own; None for the universal motion alone.
        partners: other people's own fields.
        """
        self._universal, self._personal, self._partners = universal, personal, partners
        self.contrast = torch.zeros(())
        """Negative contrast of the last call, motions in millimetres: at the same points under the same conditions."""

    def __call__(self, points: Tensor, windows: Tensor, condition: Tensor) -> Motion:
        """See `Field`; no gradient reaches the points, which are pulled by where they are drawn alone.

        How the motion would differ a little further is worth a third of a step and nothing else: the structures are
        thrown away.
        """
        points = points.detach()
        universal = self._universal(points, windows, condition)
        if self._personal is None:
            return universal
        own = self._personal(points, windows, condition)
        with torch.no_grad():
            some = points[::CONTRAST_APART]
            others = [MILLIMETRES * partner(some, windows, condition).translation for partner in self._partners]
        self.contrast = negative_contrast(MILLIMETRES * own.translation[::CONTRAST_APART], others)
        return deformation(universal, own)


@dataclass
class Sitting:
    """One clip of a corpus: its structure, learned beside everyone's.

    Each clip has a structure of its own, even where one person has several: they differ in hair, light and camera.
    """

    identity: str
    """Whose clip it is."""
    frames: int
    """How long it is."""
    gaussians: Gaussians
    structure: GaussianAdam
    field: TwoFields
    """Of the step at hand."""
    generator: torch.Generator
    """Everyone's."""
    iteration: int = 0
    """Steps on this clip."""
    moving: int | None = None
    """Everything moves: these structures are thrown away."""

    @staticmethod
    def start(
        identity: str, frames: int, gaussians: Gaussians, universal: Field, generator: torch.Generator
    ) -> Sitting:
        """A clip before its first step."""
        return Sitting(identity, frames, gaussians, GaussianAdam(gaussians), TwoFields(universal), generator)

    def next_frame(self, count: int) -> int:
        """One of frames 0..count-1, with replacement: an epoch's queue would grow with the corpus."""
        return int(torch.randint(count, (1,), generator=self.generator))

    def draw_from(self, frames: list[int]) -> int:
        """One of the given frames, with replacement."""
        return frames[self.next_frame(len(frames))]

    def step(self, rates: dict[str, float]) -> None:
        """Follow the gradients of a loss on this clip, at learning rates by parameter."""
        self.structure.step(self.gaussians, rates)
        self.iteration += 1

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything a checkpoint needs but the counts of steps, which are `iteration`."""
        named = {f"{prefix}.{name}": value.detach() for name, value in self.gaussians.tensors().items()}
        for kind, moments in (("first", self.structure.first), ("second", self.structure.second)):
            named |= {f"{prefix}.{kind}.{name}": moment for name, moment in moments.items()}
        return named

    def restore(self, prefix: str, tensors: dict[str, Tensor], iteration: int) -> None:
        """Go on from what `tensors` gave."""
        names = self.gaussians.tensors()
        self.gaussians = Gaussians(**{name: tensors[f"{prefix}.{name}"] for name in names}).trainable()
        self.structure.first = {name: tensors[f"{prefix}.first.{name}"] for name in names}
        self.structure.second = {name: tensors[f"{prefix}.second.{name}"] for name in names}
        self.structure.steps = self.iteration = iteration
