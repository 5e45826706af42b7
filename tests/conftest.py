"""Fixtures that every room's tests share: where the real clips are, and the generated sample with its truth."""

from __future__ import annotations

from pathlib import Path

import pytest

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips beside the project; the test skips, and says so, where it is absent."""
    if not CLIPS.is_dir():
        pytest.skip("real clips are absent: no ../shared/clips beside the project")
    return CLIPS
