"""Hands are found where they are, and not in faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.clip.appearance import look_at_frames
from core.clip.hands import Hand, HandFinder
from core.clip.landmarks import Landmarker
from core.errors import MissingModelError
from core.media import decode_frames, probe
from core.sample.portrait import original_crop


@pytest.fixture(scope="module")
def finder() -> HandFinder:
    try:
        return HandFinder()
    except MissingModelError:
        pytest.skip("the optional model `hands` is not on this machine")


def test_no_hand_is_seen_in_a_portrait_or_in_noise(finder: HandFinder) -> None:
    portrait = original_crop()
    side = min(portrait.shape[:2])
    assert finder.find(np.ascontiguousarray(portrait[:side, :side])) == []
    assert finder.find(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)) == []


@pytest.mark.clips
def test_gesturing_hands_are_found_and_one_before_the_face_is_told_apart(finder: HandFinder, clips: Path) -> None:
    video = clips / "pretrain" / "id07.mp4"
    wide = decode_frames(video, probe(video), crop=(420, 0, 1080), size=640, count=425)
    pictures = [one for number, one in enumerate(wide) if number % 25 == 0]
    found = [finder.find(one) for one in pictures]
    assert sum(bool(one) for one in found) >= 0.6 * len(found)
    number = next(number for number, one in enumerate(found) if one)
    picture, hand = pictures[number], found[number][0]
    with Landmarker() as landmarker:
        (face,) = landmarker.detect(picture)
    before = held_before(picture, hand, face.landmarks[:, :2].mean(0))
    film = [*[picture] * 8, before]
    landmarks = np.repeat(face.landmarks[None], len(film), axis=0)
    looks = look_at_frames(lambda number: film[number], np.arange(len(film)), landmarks, lambda _: None)
    assert looks.hands.tolist() == [1, -1, -1, -1, 1, -1, -1, -1, 2]
    assert looks.covered[8] > 0.1 > looks.covered[:8].max()


def held_before(picture: np.ndarray, hand: Hand, place: np.ndarray) -> np.ndarray:
    """The picture with a copy of its hand, and what is around it, at `place`."""
    low, high = hand.points.min(0) - 40, hand.points.max(0) + 40
    (left, top), (right, bottom) = np.maximum(low, 0).astype(int), np.minimum(high, picture.shape[0]).astype(int)
    piece = picture[top:bottom, left:right]
    result, corner = picture.copy(), (place - np.array(piece.shape[1::-1]) / 2).astype(int)
    result[top:bottom, left:right] = cv2.GaussianBlur(piece, (0, 0), 25)
    result[corner[1] : corner[1] + piece.shape[0], corner[0] : corner[0] + piece.shape[1]] = piece
    return result
