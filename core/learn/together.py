"""Several processes that learn one universal field (`torchrun`): who they are, who has whom, what they average.

People are sharded over the processes, each with its own structure and personal field; only gradients of the universal
field travel. gloo on CPUs, NCCL where CUDA draws. Knows no field.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from core.errors import UsageError

PATIENCE = timedelta(hours=12)
"""How long a process waits for the others, one of which may track a large corpus first."""


@dataclass(frozen=True)
class Together:
    """This process among all of them."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """Where tensors have to lie to travel."""

    def share(self, identities: list[str]) -> list[str]:
        """The people that this process learns.

        Raises:
            UsageError: `too_many_processes`.
        """
        if len(identities) < self.size:
            raise UsageError(
                "too_many_processes",
                f"{self.size} processes can't share {len(identities)} people.",
                "Start at most as many processes as there are people in the corpus.",
            )
        return identities[self.rank :: self.size]

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes; all end with the same bits.

        What wants no gradient stays out of it; it must be the same on all.
        """
        if self.size == 1:
            return
        mine = [parameter for parameter in parameters if parameter.requires_grad]
        if not mine:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in mine]
        joint = torch.cat([gradient.flatten() for gradient in gradients]).to(self.device)
        dist.all_reduce(joint)
        joint, start = (joint / self.size).to("cpu"), 0
        for parameter in mine:
            part = joint[start : start + parameter.numel()]
            parameter.grad = part.view_as(parameter).clone()
            start += parameter.numel()

    def mean(self, value: float) -> float:
        """The mean of a number over the processes."""
        if self.size == 1:
            return value
        joint = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(joint)
        return float(joint[0]) / self.size

    def wait(self) -> None:
        """Return when every process has called this."""
        if self.size > 1:
            dist.barrier()

    def in_common(self, numbers: set[int]) -> set[int]:
        """Those numbers that every process has."""
        if self.size == 1:
            return numbers
        gathered: list[set[int]] = [set() for _ in range(self.size)]
        dist.all_gather_object(gathered, numbers)
        return set.intersection(*gathered)


ALONE = Together()


@contextmanager
def joined(backend: str = "gloo") -> Iterator[Together]:
    """Join the processes that `torchrun` started; alone where it did not start this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group(backend, timeout=PATIENCE)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if backend == "nccl" else "cpu"
    try:
        yield Together(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
