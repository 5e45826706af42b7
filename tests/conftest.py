"""Fixtures that every room's tests share: where the real clips are, and the generated sample with its truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.sample import Sample, generate_sample

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips beside the project; the test skips, and says so, where it is absent."""
    if not CLIPS.is_dir():
        pytest.skip("real clips are absent: no ../shared/clips beside the project")
    return CLIPS


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Five seconds of the generated person at 256 pixels, with the truth."""
    return generate_sample(tmp_path_factory.mktemp("sample"), seconds=5, size=256)
