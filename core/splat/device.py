"""Which device pictures are drawn on: this CPU's own kernels, or a CUDA card through gsplat (core.splat.cuda)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
_chosen: ContextVar[str] = ContextVar("likeness_device", default="cpu")


def check_device(name: str) -> None:
    """Refuse a device that can't be used here. `auto` is the CPU: a card made no adaptation faster (docs/splatting.md).

    Raises:
        UsageError: `device_unavailable` (no such name), or `cuda_unavailable`.
    """
    if name not in DEVICES:
        raise UsageError("device_unavailable", f"There is no device '{name}'.", f"Use one of {', '.join(DEVICES)}.")
    if name == "cuda":
        from core.splat.cuda import cuda_device

        cuda_device()


@contextmanager
def drawing_on(name: str) -> Iterator[None]:
    """Within this block `rasterize` uses this device where its call names no backend; all else stays on the CPU.

    Raises:
        UsageError: as `check_device`.
    """
    check_device(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def drawing_device() -> str:
    """`cpu` or `cuda`: what `rasterize` uses now."""
    return "cuda" if _chosen.get() == "cuda" else "cpu"
