"""Made tracks: people whose lower lip follows one number of their speech, each a little in a way of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.clip.layout import SPEECH_MARGIN
from core.learn.corpus import write_track
from core.learn.judging import LOWER_LIP, UPPER_LIP
from core.learn.motion_track import MotionTrack

FRAMES = 200


def made_arrays(seed: int) -> dict[str, np.ndarray]:
    """What a track's folder holds; person `seed` moves the upper lip too, by an amount of their own."""
    random = np.random.default_rng(seed)
    steps = random.standard_normal((2 * FRAMES + 2 * SPEECH_MARGIN, 64))
    steps = sum(np.roll(steps, shift, 0) for shift in range(20)) / 3  # as smooth as speech, over 0.4 s
    steps[:, 1:] *= 0.3
    opening = steps[SPEECH_MARGIN : SPEECH_MARGIN + 2 * FRAMES : 2, 0]
    displacement = np.zeros((FRAMES, 468, 3))
    displacement[:, LOWER_LIP, 1] = -0.004 * opening[:, None]
    displacement[:, UPPER_LIP, 1] = 0.0005 * (seed % 3) * opening[:, None]
    return {
        "speech": steps.astype(np.float32),
        "expression": np.zeros((FRAMES, 6), np.float32),
        "rotations": np.tile(np.diag([1, -1, -1]).astype(np.float32), (FRAMES, 1, 1)),
        "displacement": displacement.astype(np.float32),
        "opening": opening,
        "pixels_per_metre": np.full(FRAMES, 1500, np.float32),
    }


def made_track(seed: int) -> MotionTrack:
    """One person's track in memory."""
    return MotionTrack(f"p{seed}", zero=SPEECH_MARGIN, lag=0, frames=np.arange(FRAMES), **made_arrays(seed))


def made_corpus(folder: Path, people: int) -> Path:
    """Tracks as `read_corpus` leaves them, beside videos that it need not open: `folder/clips`, `folder/run/tracks`."""
    (folder / "clips").mkdir(parents=True)
    for seed in range(people):
        (folder / "clips" / f"p{seed}.mp4").touch()
        write_track(folder / "run" / "tracks" / f"p{seed}", made_arrays(seed), 0, FRAMES / 25)
    return folder / "clips"
