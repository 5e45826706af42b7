"""One torch thread while our own kernels use the cores.

torch's barriers spin: with two of its threads beside the kernels' pool a training step takes 51 ms in place of 39 on
two quiet cores, and a second and a half when another job shares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Within this block torch's own operators use one thread; the native kernels keep theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
