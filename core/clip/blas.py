"""One thread for the linear algebra of numpy and scipy: how OpenBLAS splits a product decides its last bits.

Setting OMP_NUM_THREADS would do the same, but only before numpy is loaded, and for the whole process's life. Knows no
matrices.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_",
          "openblas_{}_num_threads")  # fmt: skip
"""What the wheels of numpy and scipy, and distributions, call them."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within this block every OpenBLAS of this process computes with one thread. Others (MKL, BLIS) are left alone."""
    libraries = _libraries()
    before = [get() for get, _ in libraries]
    for _, put in libraries:
        put(1)
    try:
        yield
    finally:
        for (_, put), count in zip(libraries, before, strict=True):
            put(count)


def blas_threads() -> list[int]:
    """Threads of each OpenBLAS that this process has loaded."""
    return [get() for get, _ in _libraries()]


def _libraries() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """How to ask and how to tell each of them."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "openblas" in line}
    found = []
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        for name in _NAMES:
            if hasattr(library, name.format("get")):
                found.append((getattr(library, name.format("get")), getattr(library, name.format("set"))))
                break
    return found
