"""What is measured in the pictures of a face: the flat face stays in place, and what covers it is found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.clip.appearance import covered_shares, frames_to_look_at, look_at_frames
from core.clip.face_texture import SIDE, Texture, face_texture, region
from core.clip.landmarks import FACE_OVAL
from core.clip.layout import FPS
from core.media import decode_frames, probe
from core.sample import Sample


@pytest.fixture(scope="module")
def frames(sample: Sample) -> tuple[list[np.ndarray], np.ndarray]:
    """Every fifth frame, and all true landmarks."""
    pictures = list(decode_frames(sample.video, probe(sample.video), crop=None, size=256))[::5]
    with np.load(sample.truth) as truth:
        return pictures, truth["landmarks"]


def test_the_flat_face_stays_in_place_while_the_head_moves(frames: tuple[list[np.ndarray], np.ndarray]) -> None:
    pictures, landmarks = frames
    flat = [face_texture(one, landmarks[5 * number]) for number, one in enumerate(pictures)]
    still = region("face") & ~cv2.dilate(region("mouth").astype(np.uint8), np.ones((15, 15))).astype(bool)
    still &= ~cv2.dilate(region("eyes").astype(np.uint8), np.ones((9, 9))).astype(bool)
    still &= np.all([one.shown for one in flat], axis=0)
    colours = np.stack([one.colours for one in flat]).astype(float)
    assert np.abs(colours - np.median(colours, axis=0))[:, still].mean() < 6
    moved = np.linalg.norm(landmarks - landmarks[:1], axis=-1).max()
    assert moved > 5, "pixels: the head does move"


def test_a_part_that_is_turned_away_or_beyond_the_picture_is_not_shown(
    frames: tuple[list[np.ndarray], np.ndarray],
) -> None:
    picture, points = frames[0][0], frames[1][0].copy()
    assert face_texture(picture, points).shown[region("face")].mean() > 0.93
    mirrored = points * [-1, 1] + [255, 0]
    assert face_texture(picture, mirrored).shown.mean() < 0.02, "seen from behind"
    middle = points[list(FACE_OVAL), 0].mean()
    half = face_texture(picture[:, : int(middle)], points).shown
    assert (
        half[:, : SIDE // 2 - 8][region("face")[:, : SIDE // 2 - 8]].mean() > 0.9 and not half[:, SIDE // 2 + 8 :].any()
    )


def plain_faces(count: int) -> list[Texture]:
    generator = np.random.default_rng(0)
    faces = [np.clip(generator.normal((190, 150, 130), 3, (SIDE, SIDE, 3)), 0, 255) for _ in range(count)]
    return [Texture(one.astype(np.uint8), region("face")) for one in faces]


def test_the_size_of_a_cover_is_found_and_the_light_is_not_taken_for_one() -> None:
    faces = plain_faces(12)
    faces[3].colours[55:75, 20:60] = (90, 60, 50)
    darker = Texture((faces[6].colours * 0.7).astype(np.uint8), faces[6].shown)
    shares = covered_shares([*faces[:6], darker, *faces[7:]])
    assert shares[3] == pytest.approx(800 / region("face").sum(), abs=0.25)
    assert shares[3] > 0.12 and np.delete(shares, 3).max() < 0.01


def test_lips_and_lids_may_move() -> None:
    faces = plain_faces(8)
    for place in ("mouth", "eyes"):
        faces[2].colours[region(place)] = 20
    assert covered_shares(faces).max() < 0.12, "black lips and lids: their rims may count"


def test_short_clips_are_looked_at_every_eighth_of_a_second_and_long_ones_less_often() -> None:
    seen = np.ones(5 * FPS, bool)
    seen[30:40] = False
    numbers = frames_to_look_at(seen)
    assert set(np.diff(numbers)) <= {3, 15} and seen[numbers].all()
    assert 180 < len(frames_to_look_at(np.ones(60 * FPS, bool))) <= 250
    lonely = np.zeros(100, bool)
    lonely[50] = True
    assert frames_to_look_at(lonely).tolist() == [50]


def test_measures_grow_with_what_they_measure(frames: tuple[list[np.ndarray], np.ndarray]) -> None:
    pictures, landmarks = frames
    numbers = np.array([0, 5, 10, 15])
    spoilt = {
        0: pictures[0],
        5: cv2.GaussianBlur(pictures[1], (0, 0), 2),
        10: (pictures[2] * 0.3).astype(np.uint8),
        15: np.clip(pictures[3] * 2.0, 0, 255).astype(np.uint8),
    }
    shares: list[float] = []
    found = look_at_frames(lambda number: spoilt[number], numbers, landmarks, shares.append)
    assert found.blur[1] > found.blur[0] + 0.15
    assert found.brightness[2] == pytest.approx(0.3 * found.brightness[0], rel=0.1)
    assert found.full[3] > 0.3 > 0.01 > found.full[0]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
