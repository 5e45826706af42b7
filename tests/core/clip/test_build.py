"""From a real person's video to a Clip, whole: poses, labels, timing, and a second clip that shares its space."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.clip import ClipOptions, build_clip, inspect_clip
from core.clip.backdrop import backdrop
from core.clip.build import clip_speech
from core.clip.canonical import RIGID_INDICES, canonical_face
from core.clip.lag import measure_lag
from core.clip.landmarks import Landmarker, graphics_libraries_present, mouth_opening
from core.clip.layout import HEAD_LABELS, SPEECH_MARGIN, Clip, Label
from core.clip.speech import reduce_speech
from core.clip.tracking import project
from core.errors import CancelledError
from core.media import decode_audio, decode_frames, probe
from core.progress import StageContext

pytestmark = pytest.mark.clips


@pytest.fixture(scope="module")
def video(clips: Path) -> Path:
    return clips / "adapt" / "id03.mp4"


@pytest.fixture(scope="module")
def clip(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The first five seconds, as the standard profile takes them."""
    return build_clip(video, tmp_path_factory.mktemp("clip"), ClipOptions(), StageContext())


def test_holds_five_seconds_at_the_recordings_own_pixels(clip: Clip, video: Path) -> None:
    assert (clip.count, clip.size, clip.start_frame) == (125, 512, 0)
    assert clip.reference.crop == (0, 0, 512) and clip.valid.all()
    recorded = next(iter(decode_frames(video, probe(video), crop=None, size=512, start_frame=7, count=1)))
    assert np.array_equal(clip.frames[7], recorded)


def test_is_the_same_after_a_round_through_its_folder(clip: Clip) -> None:
    again = Clip.load(clip.folder)
    assert np.array_equal(again.rotations, clip.rotations) and np.array_equal(again.speech, clip.speech)
    assert again.reference.crop == clip.reference.crop
    assert np.array_equal(again.reference.expression_range, clip.reference.expression_range)


def test_poses_put_the_rigid_points_on_their_landmarks(clip: Clip) -> None:
    points = project(clip.reference.rigid_points, clip.rotations, clip.translations, clip.camera)
    distance = np.linalg.norm(points - clip.landmarks[:, list(RIGID_INDICES), :2], axis=-1)
    assert np.sqrt((distance**2).mean()) < 1.6, "what the landmark model tilts is left out"
    face = project(canonical_face().vertices, clip.rotations, clip.translations, clip.camera)
    assert np.linalg.norm(face - clip.landmarks[:, :468, :2], axis=-1).mean() < 8, "the canonical face lies on it"
    assert np.linalg.det(clip.rotations) == pytest.approx(np.ones(125))
    assert (np.abs(clip.translations[:, 2] - 0.57) < 0.1).all()


def test_labels_are_where_a_person_has_them(clip: Clip) -> None:
    labels = np.asarray(clip.labels[::10])
    share = {label: float((labels == label).mean()) for label in Label}
    assert 0.4 < share[Label.BACKGROUND] < 0.6 and 0.04 < share[Label.HAIR] < 0.15
    assert 0.17 < share[Label.SKIN] < 0.3 and 0.1 < share[Label.TORSO] < 0.25
    assert 0.002 < share[Label.LIPS] < 0.02 and 0.0002 < share[Label.MOUTH] < 0.02
    assert not (labels[:, :15] != Label.BACKGROUND).any() and (labels[:, 500, 256] == Label.TORSO).all()
    chin = clip.landmarks[::10, 152, 1]
    for one, low in zip(labels, chin, strict=True):
        hair_rows = np.nonzero((one == Label.HAIR).any(1))[0]
        assert hair_rows.max() < low, "no hair below the chin: a jacket is no hair"
    changed = (np.asarray(clip.labels[1:]) != np.asarray(clip.labels[:-1])).mean()
    assert changed < 0.03, "stable over time"


def test_the_plate_and_the_backdrop_show_no_head(clip: Clip) -> None:
    labels = np.asarray(clip.labels[60])
    found = backdrop(np.asarray(clip.frames[60]), labels, clip.plate)
    face = clip.landmarks[60, [1, 9, 50, 280], :2].astype(int)
    for x, y in face:
        assert np.abs(found[y, x].astype(int) - clip.frames[60, y, x]).sum() > 40, "skin is gone"
    away = np.zeros((512, 512), bool)
    away[:, :60] = away[:, 450:] = True
    away &= ~np.isin(labels, HEAD_LABELS)
    assert np.abs(found[away].astype(int) - clip.frames[60][away]).mean() < 1


def test_expression_is_in_range_and_moves(clip: Clip) -> None:
    assert clip.expression.shape == (125, 6) and clip.expression.min() >= 0 and clip.expression.max() <= 1
    assert clip.expression[:, 5].max() > 0.8, "there is a blink in five seconds"


def test_a_later_clip_of_the_recording_shares_its_space(clip: Clip, video: Path, tmp_path: Path) -> None:
    wanted = ClipOptions(size=128, start_s=4.0, seconds=3.0, reference=clip.reference)
    stages: list[float] = []
    later = build_clip(video, tmp_path / "later", wanted, StageContext(on_progress=lambda _, done: stages.append(done)))
    assert (later.size, later.count, later.start_frame) == (128, 75, 100)
    assert stages[0] == 0 and stages[-1] == 1 and stages == sorted(stages)
    assert np.array_equal(later.reference.rigid_points, clip.reference.rigid_points)
    assert later.reference.lag_frames == clip.reference.lag_frames
    assert np.abs(later.translations[:25] - clip.translations[100:]).max() < 0.01
    assert later.camera.fx == pytest.approx(clip.camera.fx / 4)
    assert np.abs(later.landmarks[:25, :, :2] * 4 - clip.landmarks[100:, :, :2]).mean() < 1
    one, other = (
        reduce_speech(later.speech)[SPEECH_MARGIN:][:40],
        reduce_speech(clip.speech)[SPEECH_MARGIN + 200 :][:40],
    )
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95, "the same sound at the same time"
    assert sorted(path.name for path in later.folder.iterdir()) == [
        "audio.wav", "clip.json", "frames.npy", "labels.npy", "plate.npy", "report.json", "speech.npy", "tracks.npz",
    ]  # fmt: skip


def test_moved_sound_is_found_by_as_many_frames(clip: Clip, video: Path) -> None:
    audio = decode_audio(video, origin_s=probe(video).origin_s)
    opening, seen = mouth_opening(clip.landmarks), clip.valid
    late = np.concatenate([np.zeros(3 * 640, np.float32), audio[: 16000 * 12]])
    moved = measure_lag(reduce_speech(clip_speech(late, 0, 125)), SPEECH_MARGIN, opening, seen)
    assert moved.sure and moved.frames == clip.reference.lag_frames + 3


def test_a_cancelled_build_stops(video: Path, tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        build_clip(video, tmp_path / "clip", ClipOptions(), StageContext(is_cancelled=lambda: True))
    assert not (tmp_path / "clip" / "clip.json").exists()


def test_inspection_says_what_it_measured(video: Path) -> None:
    found = inspect_clip(video, ClipOptions(seconds=3.0), StageContext())
    json.dumps(found, allow_nan=False)
    assert found["verdict"] in ("usable", "usable_with_warnings")
    assert found["size"] == [512, 512] and found["frames_without_face"] == 0
    assert 200 < float(str(found["face_px"])) < 330
    assert {warning["code"] for warning in found["warnings"]} <= {"lag_unsure", "out_of_sync", "mouth_still"}


def test_the_two_landmark_engines_agree(clip: Clip) -> None:
    if not graphics_libraries_present():
        pytest.skip("mediapipe needs libEGL and libGLESv2")
    with Landmarker(engine="litert") as one, Landmarker(engine="mediapipe") as other:
        for number in (0, 60, 120):
            picture = np.asarray(clip.frames[number])
            mine, theirs = one.detect(picture)[0], other.detect(picture)[0]
            distance = np.linalg.norm((mine.landmarks - theirs.landmarks)[:, :2], axis=1)
            assert distance.mean() < 1.0, "pixels, on a face 240 wide"
            assert np.abs(mine.blendshapes - theirs.blendshapes).mean() < 0.02


def test_no_engine_sees_a_face_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    with Landmarker(tracking=True) as landmarker:
        assert landmarker.detect(noise) == []
