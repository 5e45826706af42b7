"""Every frame gets its own speech, and the pose, expression and backdrop of the recorded frame behind it."""

from __future__ import annotations

import numpy as np
import torch

from core.render.synthesis import Motion, Stopwatch, synthesise


class EchoSynthesiser:
    """Test double of an avatar: paints what it was given into one pixel."""

    def frame(
        self,
        windows: torch.Tensor,
        expression: torch.Tensor,
        rotation: np.ndarray,
        translation: np.ndarray,
        backdrop: np.ndarray,
    ) -> np.ndarray:
        assert windows.shape == (8, 16, 64)
        assert windows.dtype == expression.dtype == torch.float32
        picture = backdrop.copy()
        picture[0, 0] = [windows[0, 0, 0], expression[5], rotation[0, 0] + translation[2]]
        return picture


def test_speech_follows_the_output_and_the_rest_follows_the_recording() -> None:
    recorded = 5
    motion = Motion(
        rotations=np.arange(recorded)[:, None, None] * np.ones((recorded, 3, 3)),
        translations=np.full((recorded, 3), 100.0),
        expression=(50 + np.arange(recorded))[:, None] * np.ones((recorded, 6), np.float32),
    )
    order = np.array([0, 1, 2, 3, 4, 3, 2])
    stopwatch = Stopwatch()
    frames = list(
        synthesise(
            EchoSynthesiser(),
            motion,
            order,
            lambda number: np.full((8, 16, 64), number, np.float32),
            lambda index: np.full((4, 4, 3), 200 + index, np.uint8),
            stopwatch,
        )
    )
    assert [int(frame[0, 0, 0]) for frame in frames] == list(range(7))
    assert [int(frame[0, 0, 1]) for frame in frames] == (50 + order).tolist()
    assert [int(frame[0, 0, 2]) for frame in frames] == (100 + order).tolist()
    assert [int(frame[1, 1, 0]) for frame in frames] == (200 + order).tolist()
    assert stopwatch.frames == 7
    assert stopwatch.fps is not None
    assert stopwatch.fps > 0


def test_a_stopwatch_that_never_ran_has_no_figure() -> None:
    assert Stopwatch().fps is None
