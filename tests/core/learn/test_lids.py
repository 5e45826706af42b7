"""A person's own blink, from landmarks."""

import numpy as np
import numpy.typing as npt
import torch

from core.avatar.lids import COLUMNS, ROWS, lid_displacement
from core.clip.canonical import canonical_face
from core.learn.lids import FOLD, LOWER, MEETING, UPPER, fit_lids
from core.learn.motion_track import MotionTrack

VERTICES = canonical_face().vertices
FRAMES = 40


def track(blink: npt.NDArray[np.float64], displacement: npt.NDArray[np.float64]) -> MotionTrack:
    """Frames of somebody who does nothing but blink."""
    expression = np.zeros((FRAMES, 6), np.float32)
    expression[:, -1] = blink
    return MotionTrack(
        identity="self",
        speech=np.zeros((4 * FRAMES, 64), np.float32),
        zero=20,
        lag=0,
        frames=np.arange(FRAMES),
        expression=expression,
        rotations=np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1)),
        displacement=displacement.astype(np.float32),
        opening=np.zeros(FRAMES),
        pixels_per_metre=np.full(FRAMES, 1400, np.float32),
    )


def closing(lids: torch.Tensor, vertices: tuple[int, ...], rest: float = 0.0) -> npt.NDArray[np.float64]:
    """[n] how far a map lets vertices come down."""
    points = torch.from_numpy(VERTICES[list(vertices)] + [0, rest, 0]).float()
    return -lid_displacement(lids, points)[:, 1].double().numpy()


def test_without_a_blink_lids_meet_near_the_lower_one() -> None:
    lids = fit_lids(track(np.zeros(FRAMES), np.zeros((FRAMES, 468, 3))), VERTICES)
    assert lids.shape == (3, ROWS, COLUMNS)
    opening = VERTICES[list(UPPER[0]), 1] - VERTICES[list(LOWER[0]), 1]
    met = closing(lids, UPPER[0]) - closing(lids, LOWER[0])
    assert np.allclose(met, opening, rtol=0.15, atol=4e-4)  # metres; the map's places are half a millimetre apart
    assert (closing(lids, FOLD[0]) < closing(lids, UPPER[0]) * 0.5).all()


def test_blinks_that_were_seen_count_more_than_the_prior() -> None:
    blink = np.where(np.arange(FRAMES) % 4 == 0, 1.0, 0.0)
    moved = np.zeros((FRAMES, 468, 3))
    for upper in UPPER:
        moved[:, list(upper), 1] = -0.009 * blink[:, None]
    found = closing(fit_lids(track(blink, moved), VERTICES), (159, 386))
    prior = (1 - MEETING) * (VERTICES[159, 1] - VERTICES[145, 1])
    assert (found > prior + 0.6 * (0.009 - prior)).all()


def test_a_face_that_rests_elsewhere_has_its_lids_there() -> None:
    moved = np.zeros((FRAMES, 468, 3))
    moved[..., 1] = 0.004
    higher = fit_lids(track(np.zeros(FRAMES), moved), VERTICES)
    usual = fit_lids(track(np.zeros(FRAMES), np.zeros((FRAMES, 468, 3))), VERTICES)
    assert np.allclose(closing(higher, (159, 386), rest=0.004), closing(usual, (159, 386)), atol=2e-4)


def test_nothing_moves_away_from_the_eyes_and_eyes_lie_behind_their_lids() -> None:
    lids = fit_lids(track(np.zeros(FRAMES), np.zeros((FRAMES, 468, 3))), VERTICES)
    away = lid_displacement(lids, torch.from_numpy(VERTICES[[1, 4, 10, 66, 105, 296, 13]]).float())
    assert not away.any()
    middle = torch.from_numpy(VERTICES[[159, 145]].mean(0, keepdims=True)).float()
    assert lid_displacement(lids, middle)[0, 2] < -0.001
