"""The fields of one branch while many people are learned: one universal, one for each person (paper, section 3.2).

A step learns from some people: the universal field and their own move, nobody else's does. The universal field
is also averaged over its steps; the average is what pre-training gives. Knows no data and no losses.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from core.learn.optimise import FieldAdamW
from core.learn.run_folder import RunFolder
from core.learn.together import ALONE, Together

UniversalT = TypeVar("UniversalT", bound=nn.Module)
PersonalT = TypeVar("PersonalT", bound=nn.Module)

AVERAGING = 0.995


class Learner(Generic[UniversalT]):
    """A field and its optimiser."""

    def __init__(self, field: UniversalT) -> None:
        self.field = field
        self.optimiser = FieldAdamW(field)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything a checkpoint needs but the optimiser's step count."""
        named = {f"{prefix}.field.{name}": value for name, value in self.field.state_dict().items()}
        for kind, moments in (("first", self.optimiser.first), ("second", self.optimiser.second)):
            named |= {f"{prefix}.{kind}.{index}": moment for index, moment in enumerate(moments)}
        return named

    def restore(self, prefix: str, tensors: dict[str, Tensor], steps: int) -> None:
        """Go on from what `tensors` gave."""
        start = f"{prefix}.field."
        self.field.load_state_dict({k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)})
        for index in range(len(self.optimiser.first)):
            self.optimiser.first[index] = tensors[f"{prefix}.first.{index}"]
            self.optimiser.second[index] = tensors[f"{prefix}.second.{index}"]
        self.optimiser.steps = steps


@dataclass
class IdentityFree(Generic[UniversalT, PersonalT]):
    """State of one branch's pre-training, without structure fields."""

    universal: Learner[UniversalT]
    personal: dict[str, Learner[PersonalT]]
    """By identity: this process's people; empty where personal fields are off."""
    average: dict[str, Tensor]
    """Exponential moving average of the universal field's state."""
    generator: torch.Generator
    """The only source of randomness, so that a resumed run draws the same numbers."""
    together: Together = ALONE
    iteration: int = 0

    @staticmethod
    def start(
        universal: Callable[[], UniversalT],
        personal: Callable[[], PersonalT],
        identities: list[str],
        seed: int,
        together: Together = ALONE,
    ) -> IdentityFree[UniversalT, PersonalT]:
        """The state before the first iteration; every process starts with the same universal field.

        Args:
            universal: makes the shared field.
            personal: makes one person's field.
            identities: this process's people who get one; none for a run without personal fields.
            seed: of both kinds of start and of every draw.
            together: this process among others.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            shared = universal()
            torch.manual_seed(seed + 1 + together.rank)
            own = {identity: Learner(personal()) for identity in identities}
        average = {name: value.clone() for name, value in shared.state_dict().items()}
        generator = torch.Generator().manual_seed(seed + 1_000_003 * together.rank)
        return IdentityFree(Learner(shared), own, average, generator, together)

    def step(self, identities: list[str], factor: float, personal_factor: float) -> None:
        """Follow the gradients of a loss on some people, at so many times the usual rates for either field."""
        self.together.average_gradients(self.universal.field.parameters())
        self.universal.optimiser.step(factor)
        for identity in identities:
            if identity in self.personal:
                self.personal[identity].optimiser.step(personal_factor)
        self.iteration += 1
        if not self.universal.optimiser.groups:
            return  # frozen: its average is itself
        decay = min(AVERAGING, self.iteration / (self.iteration + 10))
        with torch.no_grad():
            for name, value in self.universal.field.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)

    def partners(self, identity: str, count: int) -> list[str]:
        """Up to `count` other people of this process, drawn without replacement.

        The iteration alone decides: a run with contrast then learns from the same frames as one without, and what
        they differ in is the contrast.
        """
        others = [other for other in self.personal if other != identity]
        order = torch.randperm(len(others), generator=torch.Generator().manual_seed(self.iteration)).tolist()
        return [others[index] for index in order[:count]]

    def averaged(self) -> UniversalT:
        """A copy of the universal field with its averaged state."""
        field = copy.deepcopy(self.universal.field)
        field.load_state_dict(self.average)
        return field

    def save(
        self, folder: RunFolder, beside: dict[str, Tensor] | None = None, steps_beside: dict[str, int] | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            folder: where it goes.
            beside: tensors of whatever else is learned, by names of their own.
            steps_beside: counts of steps of whatever else is learned.
        """
        named = self.universal.tensors("universal")
        named |= {f"average.{name}": value for name, value in self.average.items()}
        for identity, learner in self.personal.items():
            named |= learner.tensors(f"personal.{identity}")
        named["generator"] = self.generator.get_state()
        named |= beside or {}
        steps = {identity: learner.optimiser.steps for identity, learner in self.personal.items()}
        loop = {"iteration": self.iteration, "universal": self.universal.optimiser.steps, "personal": steps}
        loop["beside"] = steps_beside or {}
        folder.save(self.iteration, named, {"loop": json.dumps(loop)})

    def restore(self, folder: RunFolder) -> tuple[dict[str, Tensor], dict[str, int]] | None:
        """Go on from the newest checkpoint; its tensors and what `steps_beside` was. None where there is none."""
        found = folder.newest()
        if found is None:
            return None
        tensors, metadata = found
        loop = json.loads(metadata["loop"])
        self.universal.restore("universal", tensors, loop["universal"])
        self.average = {name: tensors[f"average.{name}"] for name in self.average}
        for identity, learner in self.personal.items():
            learner.restore(f"personal.{identity}", tensors, loop["personal"][identity])
        self.generator.set_state(tensors["generator"])
        self.iteration = loop["iteration"]
        return tensors, loop["beside"]


class RunningMeans:
    """Means of a loss and its contrast since they were last taken."""

    def __init__(self) -> None:
        self._sums: npt.NDArray[np.float64] = np.zeros(3)

    def add(self, loss: Tensor, contrast: Tensor) -> None:
        """Both of one step."""
        self._sums += [loss.item(), contrast.item(), 1.0]

    def take(self, together: Together) -> dict[str, float]:
        """Means over the steps and the processes."""
        loss, contrast, count = self._sums
        self._sums = np.zeros(3)
        return {
            "loss": round(together.mean(loss / count), 6),
            "contrast": round(together.mean(contrast / count), 6),
        }
