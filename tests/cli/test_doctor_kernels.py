"""`likeness doctor` says what the kernels run on, and what to do where no native library loads."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from cli.doctor import _rasteriser
from core.splat import library, ssim


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.delenv(library.ISA_VARIABLE, raising=False)
    library.load.cache_clear()
    yield
    library.load.cache_clear()


def test_without_a_native_library_doctor_says_so_and_the_warning_comes_once(no_libraries: None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        finding = _rasteriser()
        pictures = torch.rand(2, 3, 8, 8)
        assert torch.isfinite(ssim(*pictures))
        assert torch.isfinite(ssim(*pictures))
    assert (finding.state, finding.found) == ("better", "torch reference, slow")
    assert "C++ compiler" in finding.advice
    assert [str(warning.message).count("native kernels can't load") for warning in caught] == [1]


def test_with_one_doctor_names_the_instruction_set() -> None:
    finding = _rasteriser()
    assert finding.state == "ok"
    assert finding.found.startswith("native-")
