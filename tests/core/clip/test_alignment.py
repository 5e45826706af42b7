"""Direct alignment against poses that we know, because the pictures are drawn in them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from core.camera import Camera
from core.clip.alignment import align_track
from core.clip.canonical import canonical_face
from core.clip.poses import Poses, project
from core.clip.priors import mesh_geometry
from core.clip.rotations import rotation_from_vector, vector_from_rotation
from core.clip.skin import Skin, contrast
from core.clip.tracking import Track, moved_track, track_head

CAMERA = Camera.centred(900.0, 512)
FRAMES = 24
SEEN = np.ones(FRAMES, bool)


def made_poses(first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    time = (first + np.arange(FRAMES)) / 25
    vectors = np.stack([0.03 * np.sin(2 * time), 0.06 * np.sin(4 * time + 1), 0.02 * np.sin(3 * time)], 1)
    rotations = rotation_from_vector(vectors) @ np.diag([1.0, -1.0, -1.0])
    shifts = np.stack([0.01 * np.sin(time), 0.02 + 0.005 * np.cos(2 * time), 0.58 + 0.01 * np.sin(0.7 * time)], 1)
    return rotations, shifts


def nods(seed: int = 0) -> np.ndarray:
    """[T, 3, 3] what the landmark model does to the head: half a degree about the picture's axes, in each frame."""
    turns = np.zeros((FRAMES, 3))
    turns[:, :2] = np.random.default_rng(seed).normal(0, np.radians(0.5), (FRAMES, 2))
    return rotation_from_vector(turns)


@cache
def film(first: int = 0) -> tuple[np.ndarray, ...]:
    """Pictures of a face whose skin has spots, in the made poses; what no mesh covers is grey."""
    vertices = canonical_face().vertices
    pictures = []
    for rotation, shift in zip(*made_poses(first), strict=True):
        landmarks = project(vertices, rotation[None], shift[None], CAMERA)[0]
        geometry = mesh_geometry(landmarks, rotation, shift, CAMERA)
        y, x = np.mgrid[:512, :512] + 0.5
        rays = np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones((512, 512))], -1)
        place = (rays * np.nan_to_num(geometry.depth)[..., None] - shift) @ rotation
        spots = np.sin(place[..., 0] * 700) * np.sin(place[..., 1] * 600) + 0.5 * np.sin(place @ [300, 900, 200])
        grey = np.where(geometry.valid, 130 + 30 * spots, 90)
        pictures.append(np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2))
    return tuple(pictures)


def landmarks_of(turns: np.ndarray, first: int = 0) -> np.ndarray:
    rotations, shifts = made_poses(first)
    landmarks = np.zeros((FRAMES, 478, 3))
    landmarks[:, :468, :2] = project(canonical_face().vertices, turns @ rotations, shifts, CAMERA)
    return landmarks


def turn_errors(track: Track, first: int = 0) -> np.ndarray:
    """Degrees between found and made rotations, up to one turn of head space."""
    made, _ = made_poses(first)
    between = made.transpose(0, 2, 1) @ track.rotations
    middle = rotation_from_vector(vector_from_rotation(between[:1].transpose(0, 2, 1) @ between).mean(0))
    return np.degrees(np.linalg.norm(vector_from_rotation((between[0] @ middle).T @ between), axis=-1))


def nothing() -> None:
    pass


def align(track: Track, landmarks: np.ndarray, known: Skin | None = None, first: int = 0) -> tuple[Track, Skin]:
    return align_track(film(first).__getitem__, landmarks, SEEN, track, CAMERA, nothing, known)


@pytest.fixture(scope="module")
def nodding() -> tuple[np.ndarray, Track]:
    """Landmarks of a head that nods in them and nowhere else, and the track that they make, unsmoothed."""
    landmarks = landmarks_of(nods())
    return landmarks, track_head(landmarks, SEEN, CAMERA, smooth=False)


@pytest.fixture(scope="module")
def aligned(nodding: tuple[np.ndarray, Track]) -> tuple[Track, Skin]:
    landmarks, track = nodding
    return align(track, landmarks)


def test_a_nod_that_only_the_landmarks_show_goes(
    nodding: tuple[np.ndarray, Track], aligned: tuple[Track, Skin]
) -> None:
    before, after = turn_errors(nodding[1]).mean(), turn_errors(aligned[0]).mean()
    assert before > 0.4, "the landmarks do nod"
    assert after < 0.3 * before


def test_the_clip_as_a_whole_stays_where_its_landmarks_are(
    nodding: tuple[np.ndarray, Track], aligned: tuple[Track, Skin]
) -> None:
    turned = nodding[1].rotations.transpose(0, 2, 1) @ aligned[0].rotations
    assert np.degrees(np.abs(vector_from_rotation(turned).mean(0))).max() < 0.05


def test_a_second_clip_is_aligned_to_the_first_ones_skin(aligned: tuple[Track, Skin]) -> None:
    track, skin = aligned
    landmarks = landmarks_of(rotation_from_vector(np.radians([0.5, 0.3, 0.0]))[None] @ nods(1), 40)
    own = track_head(landmarks, SEEN, CAMERA, track.points, smooth=False)
    second, same = align(own, landmarks, skin, 40)
    assert same is skin
    space = made_poses()[0].transpose(0, 2, 1) @ track.rotations
    between = made_poses(40)[0].transpose(0, 2, 1) @ second.rotations
    off = vector_from_rotation(space.mean(0)[None].transpose(0, 2, 1) @ between).mean(0)
    assert np.degrees(np.linalg.norm(off)) < 0.25, "the pictures see the half degree that all landmarks share"
    assert turn_errors(second, 40).mean() < 0.3 * turn_errors(own, 40).mean()


def test_skin_without_a_pattern_leaves_what_the_landmarks_say(nodding: tuple[np.ndarray, Track]) -> None:
    landmarks, track = nodding
    blank = np.full((512, 512, 3), 128, np.uint8)
    still, _ = align_track(lambda _: blank, landmarks, SEEN, replace(track), CAMERA, nothing)
    smooth = track_head(landmarks, SEEN, CAMERA)
    assert turn_errors(still).mean() < 1.3 * max(turn_errors(smooth).mean(), turn_errors(track).mean())
    assert np.isfinite(still.rotations).all()


def test_a_frame_that_shows_something_else_keeps_its_landmarks_pose(
    nodding: tuple[np.ndarray, Track], aligned: tuple[Track, Skin]
) -> None:
    landmarks, track = nodding
    noise = np.random.default_rng(2).integers(0, 256, (512, 512, 3)).astype(np.uint8)

    def covered(frame: int) -> np.ndarray:
        return noise if frame == 12 else film()[frame]

    found, _ = align_track(covered, landmarks, SEEN, track, CAMERA, nothing, aligned[1])
    turn = found.rotations[12] @ track.rotations[12].T
    assert np.degrees(np.linalg.norm(vector_from_rotation(turn[None]))) < 2.0
    others = np.arange(FRAMES) != 12
    assert turn_errors(found)[others].mean() < 0.4 * turn_errors(track)[others].mean()


def test_a_frame_without_a_face_keeps_its_pose(nodding: tuple[np.ndarray, Track], aligned: tuple[Track, Skin]) -> None:
    landmarks, track = nodding
    seen = SEEN.copy()
    seen[:8] = False
    found, _ = align_track(film().__getitem__, landmarks, seen, track, CAMERA, nothing, aligned[1])
    np.testing.assert_allclose(found.rotations[:8], track.rotations[:8], atol=1e-9)
    assert np.isnan(found.errors[:8]).all()


def test_the_same_bits_whatever_the_number_of_threads(
    nodding: tuple[np.ndarray, Track], aligned: tuple[Track, Skin], monkeypatch: pytest.MonkeyPatch
) -> None:
    landmarks, track = nodding
    monkeypatch.setenv("LIKENESS_THREADS", "3")
    again, skin = align(track, landmarks)
    np.testing.assert_array_equal(again.rotations, aligned[0].rotations)
    assert skin.digest() == aligned[1].digest()


def test_errors_are_those_of_the_moved_poses(nodding: tuple[np.ndarray, Track]) -> None:
    landmarks, track = nodding
    shift = np.array([0.001, 0.0, 0.0])
    moved = moved_track(
        track, Poses(track.rotations, track.translations + shift, track.points), landmarks, SEEN, CAMERA
    )
    expected = 900 * 0.001 / track.translations[:, 2].mean()
    assert np.sqrt((moved.errors**2 - track.errors**2).mean()) == pytest.approx(expected, rel=0.2)


def test_contrast_knows_no_light() -> None:
    picture = film()[0]
    places = np.stack(np.meshgrid(np.arange(200, 300, 7.0), np.arange(200, 300, 7.0)), -1).reshape(-1, 2)
    ramp = 1 + np.linspace(-0.2, 0.2, 512)[None, :, None]
    lit = np.clip(picture * ramp + 15, 0, 255).astype(np.uint8)
    plain, other = contrast(picture, places).at(places)[0], contrast(lit, places).at(places)[0]
    assert np.corrcoef(plain, other)[0, 1] > 0.99
