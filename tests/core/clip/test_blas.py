"""Linear algebra with one thread, so that a clip's last bits don't depend on the machine's cores."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from core.clip.blas import blas_threads, one_blas_thread


def test_one_thread_inside_and_as_before_after() -> None:
    scipy.linalg.solve(np.eye(3), np.ones(3))  # loads scipy's own
    before = blas_threads()
    assert before, "numpy's wheel brings OpenBLAS"
    with one_blas_thread():
        assert blas_threads() == [1] * len(before)
        with one_blas_thread():
            assert blas_threads() == [1] * len(before)
        assert blas_threads() == [1] * len(before)
    assert blas_threads() == before
