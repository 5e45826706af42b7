"""Plate, backdrop, matte, person and parsing, on pictures whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip.backdrop import backdrop, matte
from core.clip.face_frame import face_coordinates, hanging_hair, polygon, similarity
from core.clip.layout import Label
from core.clip.plate import background_plate
from core.clip.scaling import scaled_labels, scaled_picture

SIDE = 256
SKIN, CLOTH = np.array([205, 150, 120]), np.array([30, 40, 90])


def scene(head_x: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, labels and true wall: a round head on a neck on a torso."""
    y, x = np.mgrid[:SIDE, :SIDE]
    wall = np.stack([90 + x // 4, 120 + y // 4, np.full_like(x, 60)], -1).astype(np.uint8)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[(y > 190) & (np.abs(x - 128) < 100)] = Label.TORSO
    neck = (y > 150) & (y <= 190) & (np.abs(x - head_x) < 22)
    labels[neck] = Label.TORSO
    head = (x - head_x) ** 2 / 45**2 + (y - 110) ** 2 / 58**2 < 1
    labels[head] = Label.SKIN
    labels[head & (y < 75)] = Label.HAIR
    picture = wall.copy()
    picture[labels == Label.TORSO] = CLOTH
    picture[neck & ~head] = SKIN * 0.8
    picture[labels == Label.SKIN] = SKIN
    picture[labels == Label.HAIR] = (40, 30, 20)
    return picture, labels, wall


def test_the_plate_is_the_wall_wherever_a_frame_showed_it() -> None:
    shown = [scene(x) for x in (70, 128, 190)]
    plate, known = background_plate((picture, labels) for picture, labels, _ in shown)
    wall = shown[0][2]
    assert np.array_equal(plate[known], wall[known])
    assert known.mean() > 0.6
    assert np.abs(plate.astype(int) - wall).max() < 60, "what was invented resembles its surroundings"


def test_the_backdrop_is_the_recording_away_from_the_head() -> None:
    picture, labels, wall = scene()
    found = backdrop(picture, labels, wall)
    away = (np.abs(np.arange(SIDE)[None] - 128) > 70) | (np.arange(SIDE)[:, None] > 200)
    assert np.array_equal(found[away & (labels == 0)], picture[away & (labels == 0)])
    torso = (labels == Label.TORSO) & away
    assert np.abs(found[torso].astype(int) - picture[torso]).max() <= 1


def test_the_backdrop_shows_no_head_and_grows_the_neck_under_the_chin() -> None:
    picture, labels, wall = scene()
    found = backdrop(picture, labels, wall).astype(int)
    upper = (labels == Label.HAIR) | ((labels == Label.SKIN) & (np.arange(SIDE)[:, None] < 120))
    assert np.abs(found[upper] - wall[upper]).max() <= 2, "the plate lies behind the head"
    under_chin = found[150:165, 118:138].reshape(-1, 3)
    tint = under_chin / under_chin.sum(1, keepdims=True) - SKIN / SKIN.sum()
    assert np.abs(tint).max() < 0.02, "skin, not wall"
    assert (under_chin > 0.5 * SKIN).all() and (under_chin <= SKIN).all(), "in the shade of the chin"
    beside = found[130:165, 60:70]
    assert np.abs(beside - wall[130:165, 60:70]).max() <= 2, "and nothing beside the jaw"


def test_a_backdrop_without_torso_is_the_plate_behind_the_head() -> None:
    picture, labels, wall = scene()
    labels[labels == Label.TORSO] = Label.BACKGROUND
    found = backdrop(picture, labels, wall)
    head = labels > 0
    assert np.array_equal(found[head], wall[head])


def test_the_matte_is_one_inside_the_head_and_zero_away_from_it() -> None:
    _, labels, _ = scene()
    soft = matte(labels)
    assert soft.dtype == np.float32 and soft[110, 128] == pytest.approx(1) and soft[250, 128] == 0
    assert 0.1 < soft[110, 128 + 45] < 0.9


def test_hair_that_grows_on_no_head_is_no_hair() -> None:
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[10], landmarks[152] = (128, 60), (128, 180)
    _, up = face_coordinates(landmarks, SIDE, SIDE)
    hair = np.zeros((SIDE, SIDE), bool)
    hair[40:110, 80:176] = True
    hair[105:170, 84:100] = True
    hair[200:230, 30:80] = True
    hair[110:190, 176] = True
    kept = hanging_hair(hair, up)
    assert kept[45:108, 85:170].all() and kept[110:165, 86:98].all(), "hair above, and the lock that hangs from it"
    assert not kept[195:].any() and not kept[120:185, 176].any(), "neither a collar nor a thin rim"


def test_face_coordinates_follow_a_tilted_face() -> None:
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[10], landmarks[152] = (100, 100), (160, 180)
    right, up = face_coordinates(landmarks, SIDE, SIDE)
    assert up[100, 100] == pytest.approx(0.5, abs=0.01) and up[180, 160] == pytest.approx(-0.5, abs=0.01)
    assert right[100, 100] == pytest.approx(0, abs=0.01) and right[140, 200] > 0.3


def test_a_similarity_is_recovered() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(128, 40, (478, 2))
    turn = 1.3 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    found = similarity(points, points @ turn.T + [5, -7])
    assert np.allclose(found, np.concatenate([turn, [[5], [-7]]], 1))


def test_a_polygon_is_filled_by_the_centres_of_its_pixels() -> None:
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[:4] = [(10.4, 10.6), (30.6, 10.6), (30.6, 20.4), (10.4, 20.4)]
    expected = np.zeros((40, 40), bool)
    expected[11:20, 10:31] = True
    assert np.array_equal(polygon(landmarks, (0, 1, 2, 3), 40, 40), expected)
    assert np.array_equal(polygon(landmarks, (0, 1, 2, 3), 15, 20), expected[:15, :20]), "cut off at the border"
    landmarks[:3] = [(5, 5), (25, 5), (5, 25)]
    middle = np.arange(40) + 0.5
    corner = (middle[None] > 5) & (middle[:, None] > 5) & (middle[None] + middle[:, None] < 30)
    disputed = middle[None] + middle[:, None] == 30
    assert np.array_equal(polygon(landmarks, (0, 1, 2), 40, 40) & ~disputed, corner)
    assert not polygon(landmarks - 100, (0, 1, 2), 40, 40).any()


def test_scaling_keeps_labels_whole() -> None:
    picture, labels, _ = scene()
    assert set(np.unique(scaled_labels(labels, 100))) <= set(np.unique(labels))
    assert scaled_picture(picture, 128).shape == (128, 128, 3)
    assert abs(scaled_picture(picture, 128).mean() - picture.mean()) < 1


def test_cloth_grows_under_the_jaw_and_does_not_stand_up_beside_it() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    wall = np.full((SIDE, SIDE, 3), (90, 120, 60), np.uint8)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[(y > 190) & (np.abs(x - 128) < 100)] = Label.TORSO
    labels[(y <= 190) & (y > 60) & (np.abs(x - 128) < 60)] = Label.SKIN
    picture = np.where((labels == Label.TORSO)[..., None], CLOTH, wall).astype(np.uint8)
    picture[labels == Label.SKIN] = SKIN
    behind = backdrop(picture, labels, wall).astype(int)
    like_cloth = np.abs(behind - CLOTH).sum(-1) < np.abs(behind - wall.astype(int)).sum(-1)
    grown = like_cloth[:190].sum(0)
    assert grown[118:138].min() >= 1
    assert grown[66:72].max() == 0
    assert grown[184:190].max() == 0
