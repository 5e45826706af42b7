"""A voice-like sound, for the tests that make avatars speak."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from core.errors import MissingModelError
from core.models import locate

RATE = 16_000


def write_speech(path: Path, seconds: float, level: float = 0.3) -> Path:
    """A buzz that comes and goes four times a second, as syllables do."""
    t = np.arange(round(seconds * RATE)) / RATE
    samples = level * np.sign(np.sin(2 * np.pi * 120 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((32767 * samples).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        locate("whisper_tiny_en")
    except MissingModelError:
        pytest.skip("the speech encoder is not on this machine: likeness models fetch")
    return write_speech(tmp_path_factory.mktemp("speech") / "speech.wav", 1.5)
