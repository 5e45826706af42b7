"""One branch while it learns, and its checkpoint: everything that makes a resumed run go on as if it had not stopped.

Checkpoints are safetensors, never pickle. Knows no pictures and no losses.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from core.avatar import FaceField, Gaussians, MouthField
from core.avatar.avatar import branch_tensors, load_branch
from core.learn.density import DensityStatistics
from core.learn.optimise import FieldAdamW, GaussianAdam
from core.learn.tensor_file import read_tensors, write_tensors

FieldT = TypeVar("FieldT", FaceField, MouthField)


@dataclass
class Branch(Generic[FieldT]):
    """State of one branch's training."""

    gaussians: Gaussians
    field: FieldT
    structure: GaussianAdam
    motion: FieldAdamW
    statistics: DensityStatistics
    generator: torch.Generator
    """The only source of randomness in the loop, so that a resumed run draws the same numbers."""
    moving: int | None = None
    """How many Gaussians the field moves, from the first on; None: all."""
    queue: list[int] = dataclasses.field(default_factory=list)
    """Frames left of the current shuffled epoch."""
    iteration: int = 0

    @staticmethod
    def start(
        gaussians: Gaussians,
        motion_field: FieldT,
        seed: int,
        moving: int | None = None,
    ) -> Branch[FieldT]:
        """A branch before its first iteration."""
        return Branch(
            gaussians,
            motion_field,
            GaussianAdam(gaussians),
            FieldAdamW(motion_field),
            DensityStatistics.empty(gaussians.count),
            torch.Generator().manual_seed(seed),
            moving,
        )

    def next_frame(self, count: int) -> int:
        """A frame of 0..count-1, from shuffled epochs."""
        if not self.queue:
            self.queue = torch.randperm(count, generator=self.generator).tolist()
        return self.queue.pop()

    def draw_from(self, frames: list[int]) -> int:
        """One of the given frames, with replacement."""
        return frames[int(torch.randint(len(frames), (1,), generator=self.generator))]

    def save(self, path: Path) -> None:
        """Write the whole state; the file appears in one piece or not at all."""
        tensors = branch_tensors("branch", self.gaussians, self.field)
        for name in self.structure.first:
            tensors[f"first.{name}"] = self.structure.first[name]
            tensors[f"second.{name}"] = self.structure.second[name]
        for index, (first, second) in enumerate(zip(self.motion.first, self.motion.second, strict=True)):
            tensors[f"motion.first.{index}"] = first
            tensors[f"motion.second.{index}"] = second
        tensors["statistics.total"] = self.statistics.total
        tensors["statistics.seen"] = self.statistics.seen
        tensors["generator"] = self.generator.get_state()
        loop = {
            "iteration": self.iteration,
            "queue": self.queue,
            "moving": self.moving,
            "structure_steps": self.structure.steps,
            "motion_steps": self.motion.steps,
        }
        write_tensors(path, tensors, {"loop": json.dumps(loop)})

    def restore(self, path: Path) -> None:
        """Go on from a file that `save` wrote for a branch of the same shape."""
        tensors, metadata = read_tensors(path)
        loop = json.loads(metadata["loop"])
        self.gaussians = load_branch("branch", tensors, self.field).trainable()
        for name in self.structure.first:
            self.structure.first[name] = tensors[f"first.{name}"]
            self.structure.second[name] = tensors[f"second.{name}"]
        self.structure.steps = loop["structure_steps"]
        for index in range(len(self.motion.first)):
            self.motion.first[index] = tensors[f"motion.first.{index}"]
            self.motion.second[index] = tensors[f"motion.second.{index}"]
        self.motion.steps = loop["motion_steps"]
        self.statistics = DensityStatistics(tensors["statistics.total"], tensors["statistics.seen"])
        self.generator.set_state(tensors["generator"])
        self.queue, self.moving, self.iteration = loop["queue"], loop["moving"], loop["iteration"]
