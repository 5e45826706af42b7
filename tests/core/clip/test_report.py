"""What people are told about a clip: the generated sample is spoiled in one way at a time, encoded, and inspected."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from core.camera import Camera
from core.clip import ClipOptions, build_clip, inspect_clip
from core.clip.appearance import Appearance
from core.clip.canonical import canonical_face
from core.clip.checks import CHECKS, HINTS
from core.clip.evidence import Evidence
from core.clip.intake import plan_clip
from core.clip.lag import Lag
from core.clip.report import make_report, read_report, refuse_unusable
from core.clip.tracking import FOCAL_AT_512, project, track_head
from core.errors import InputRefusedError
from core.media import VideoWriter, decode_frames, probe
from core.progress import StageContext
from core.sample import Sample

FRAMES = 78
"""A little over the 3 s that a clip must last."""
Spoil = Callable[[int, np.ndarray], np.ndarray]
DOCS = Path(__file__).parents[3] / "docs"


@dataclass(frozen=True)
class Film:
    """The sample's first frames, and where its face is in them."""

    sample: Sample
    frames: list[np.ndarray]
    landmarks: np.ndarray
    """[T, 478, 2] true ones."""
    folder: Path

    def with_pictures(self, spoil: Spoil, crf: int = 18, sound: Path | None = None) -> Path:
        """A video of the frames after `spoil`."""
        path = self.folder / f"film-{len(list(self.folder.iterdir()))}.mp4"
        pictures = [np.ascontiguousarray(spoil(number, one.copy())) for number, one in enumerate(self.frames)]
        height, width = pictures[0].shape[:2]
        with VideoWriter(path, width, height, crf=crf, audio=sound or self.sample.video) as writer:
            for picture in pictures:
                writer.write(picture)
        return path

    def with_sound(self, samples: np.ndarray) -> Path:
        """A video of the frames with other sound: [n] at 16 kHz."""
        sound = self.folder / "sound.wav"
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        return self.with_pictures(lambda _, picture: picture, sound=sound)

    def face_box(self, number: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the face."""
        low, high = self.landmarks[number].min(0), self.landmarks[number].max(0)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


@pytest.fixture(scope="module")
def film(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Film:
    frames = list(decode_frames(sample.video, probe(sample.video), crop=None, size=256, count=FRAMES))
    with np.load(sample.truth) as truth:
        landmarks = truth["landmarks"][:FRAMES]
    return Film(sample, frames, landmarks, tmp_path_factory.mktemp("films"))


def report_on(path: Path) -> dict[str, Any]:
    report = inspect_clip(path, ClipOptions(), StageContext())
    json.dumps(report, allow_nan=False)
    assert all(warning["hint"] for warning in report["warnings"])
    assert (report["verdict"] == "usable") == (not report["warnings"])
    return report


def warned(path: Path) -> set[str]:
    return {warning["code"] for warning in report_on(path)["warnings"]}


def refused(path: Path) -> str:
    with pytest.raises(InputRefusedError) as caught:
        inspect_clip(path, ClipOptions(), StageContext())
    assert caught.value.hint
    return caught.value.code


UNSPOILED = {"face_small", "lag_unsure"}
"""The sample's face is 107 pixels tall, and its voice is synthetic."""


def test_an_unspoiled_clip_gets_no_other_warning(film: Film) -> None:
    report = report_on(film.with_pictures(lambda _, picture: picture))
    assert {warning["code"] for warning in report["warnings"]} == UNSPOILED
    assert report["face_px"] == pytest.approx(107, abs=4)
    assert report["speech_seconds"] > 1.2 and report["pose_rmse_px"] < 0.6
    assert {check.name for check in CHECKS} == set(report["limits"]) <= set(report)


@pytest.mark.parametrize(("light", "code"), [(0.22, "dark"), (0.06, None)])
def test_a_dark_clip(film: Film, light: float, code: str | None) -> None:
    path = film.with_pictures(lambda _, picture: (picture * light).astype(np.uint8))
    if code is None:
        assert refused(path) == "too_dark"
    else:
        assert warned(path) == {*UNSPOILED, code}


@pytest.mark.parametrize(("sigma", "code"), [(1.7, "blurred"), (3.2, None)])
def test_a_soft_clip(film: Film, sigma: float, code: str | None) -> None:
    path = film.with_pictures(lambda _, picture: cv2.GaussianBlur(picture, (0, 0), sigma))
    if code is None:
        assert refused(path) == "too_blurred"
    else:
        assert code in warned(path)


def skin_patch(film: Film, number: int) -> np.ndarray:
    """A picture [h, w, 3] of the size of half of the face, of the cheek's own colour and creased like a palm."""
    left, top, right, bottom = film.face_box(number)
    height, width = (bottom - top) * 3 // 5, (right - left) * 3 // 4
    cheek = film.frames[number][(top + bottom) // 2, left + (right - left) // 4]
    y, x = np.mgrid[:height, :width]
    creases = 14 * np.sin(x / 3.1 + y / 9) + 10 * np.sin(y / 2.3 - x / 11)
    return np.clip(cheek.astype(float) * 0.85 + creases[..., None], 0, 255).astype(np.uint8)


def covered(film: Film, when: Callable[[int], bool]) -> Spoil:
    def spoil(number: int, picture: np.ndarray) -> np.ndarray:
        if when(number):
            left, _, _, bottom = film.face_box(number)
            patch = skin_patch(film, number)
            top = bottom - patch.shape[0]
            picture[top:bottom, left : left + patch.shape[1]] = patch
        return picture

    return spoil


def test_a_hand_coloured_patch_before_the_face_is_warned_about(film: Film) -> None:
    report = report_on(film.with_pictures(covered(film, lambda number: 30 <= number < 42)))
    assert "face_covered" in {warning["code"] for warning in report["warnings"]}
    assert report["frames_covered"] == pytest.approx(12 / FRAMES, abs=0.06)


def test_a_face_that_is_covered_for_long_is_refused(film: Film) -> None:
    assert refused(film.with_pictures(covered(film, lambda number: number >= 42))) == "face_covered"


def test_glare_on_glasses_and_a_file_that_was_squeezed_hard_are_warned_about(film: Film) -> None:
    def shine(number: int, picture: np.ndarray) -> np.ndarray:
        for eye in (159, 386):
            x, y = film.landmarks[number, eye]
            cv2.ellipse(picture, (int(x), int(y)), (9, 4), -20, 0, 360, (255, 255, 255), -1)
        return picture

    assert {"glasses_glare", "low_bitrate"} <= warned(film.with_pictures(shine, crf=42))


def test_a_chin_at_the_border_and_a_burnt_out_face_are_warned_about(film: Film) -> None:
    bottom = int(film.landmarks[..., 1].max()) // 2 * 2
    path = film.with_pictures(lambda _, picture: np.clip(picture[:bottom] * 1.55, 0, 255).astype(np.uint8))
    assert {"touches_border", "overexposed"} <= warned(path)


def turned(film: Film, degrees: float) -> Evidence:
    """A faultless clip but for its head, which is turned that far to the side and sways a little."""
    plan = plan_clip(film.with_pictures(lambda _, picture: picture), ClipOptions(), StageContext())
    yaws = degrees + 4 * np.sin(np.arange(plan.count) / 9)
    upright = np.diag([1.0, -1.0, -1.0])
    rotations = Rotation.from_euler("y", yaws[:, None], degrees=True).as_matrix() @ upright
    camera = Camera.centred(FOCAL_AT_512, 512)
    points = project(canonical_face().vertices, rotations, np.tile([0.0, 0.0, 0.6], (plan.count, 1)), camera)
    landmarks = np.zeros((plan.count, 478, 3), np.float32)
    landmarks[:, :468, :2] = points
    landmarks[:, 468:, :2] = points[:, 1:2]
    seen, looks = np.ones(plan.count, bool), np.arange(0, plan.count, 3)
    some = np.zeros(len(looks))
    good = Appearance(looks, some + 140, some, some + 0.4, some, some, np.zeros(len(looks), np.int64))
    return Evidence(plan, landmarks, seen, track_head(landmarks, seen, camera), good)


def test_a_head_that_is_turned_far_is_warned_about_and_a_profile_refused(film: Film) -> None:
    far = turned(film, 36.0)
    refuse_unusable(far)
    report = make_report(far, Lag(0, 0.9, 0.5))
    assert "head_turned" in {warning["code"] for warning in report["warnings"]}
    assert max(abs(angle) for angle in report["yaw_degrees"]) == pytest.approx(40, abs=3)
    with pytest.raises(InputRefusedError) as caught:
        refuse_unusable(turned(film, 55.0))
    assert caught.value.code == "head_turned_away"


def test_a_lag_is_told_and_one_that_is_not_sure_is_warned_about(film: Film) -> None:
    evidence = turned(film, 0.0)
    codes = [
        {warning["code"] for warning in make_report(evidence, lag)["warnings"]} & {"out_of_sync", "lag_unsure"}
        for lag in (Lag(1, 0.8, 0.5), Lag(-4, 0.8, 0.5), Lag(-4, 0.3, 0.01))
    ]
    assert codes == [set(), {"out_of_sync"}, {"lag_unsure"}]


def test_noise_in_place_of_a_voice_is_refused(film: Film) -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=FRAMES * 640)
    assert refused(film.with_sound(noise)) == "no_speech"


def test_silence_is_refused(film: Film) -> None:
    assert refused(film.with_sound(np.zeros(FRAMES * 640))) == "audio_silent"


def test_a_cut_is_warned_about(sample: Sample, film: Film) -> None:
    frames = list(decode_frames(sample.video, probe(sample.video), crop=None, size=256))
    path = film.folder / "cut.mp4"
    with VideoWriter(path, 256, 256, audio=sample.video) as writer:
        for number, picture in enumerate(frames):
            writer.write(picture if number < 80 else np.ascontiguousarray(255 - picture[:, ::-1]))
    report = report_on(path)
    assert "cut" in {warning["code"] for warning in report["warnings"]}
    assert report["shots"] == [[0.0, 3.2], [3.2, 5.0]] and report["used"] == [0.0, 3.2]


def test_the_clip_keeps_the_report_that_inspect_prints(film: Film, tmp_path: Path) -> None:
    path = film.with_pictures(lambda _, picture: picture)
    build_clip(path, tmp_path / "clip", ClipOptions(size=128), StageContext())
    kept, printed = read_report(tmp_path / "clip"), report_on(path)
    assert kept is not None
    # The speech encoder's threads add up in any order: its last bit can turn the third digit of a correlation.
    assert kept.pop("lag_correlation") == pytest.approx(printed.pop("lag_correlation"), abs=1.5e-3)
    assert kept == printed
    assert read_report(tmp_path) is None


def test_every_code_has_a_hint_and_is_documented() -> None:
    clip, errors = (DOCS / "clip.md").read_text(), (DOCS / "errors.md").read_text()
    refusals = {check.refusal.code for check in CHECKS if check.refusal is not None}
    warnings = {check.warning.code for check in CHECKS if check.warning is not None}
    assert refusals | warnings <= set(HINTS)
    assert [code for code in HINTS if f"`{code}`" not in clip] == []
    assert [code for code in refusals if f"`{code}`" not in errors] == []


@pytest.mark.clips
def test_a_voice_of_somebody_else_is_told_from_the_persons_own(clips: Path, tmp_path: Path) -> None:
    video = clips / "adapt" / "id03.mp4"
    info = probe(video)
    frames = list(decode_frames(video, info, crop=None, size=512, count=125))
    own, dubbed = tmp_path / "own.mp4", tmp_path / "dubbed.mp4"
    for path, sound in ((own, video), (dubbed, clips / "speech" / "de.wav")):
        with VideoWriter(path, 512, 512, audio=sound) as writer:
            for picture in frames:
                writer.write(picture)
    assert "lag_unsure" not in warned(own)
    assert "lag_unsure" in warned(dubbed)


@pytest.mark.clips
def test_a_chin_at_the_border_of_a_real_clip_is_warned_about(clips: Path) -> None:
    assert "touches_border" in warned(clips / "pretrain" / "id10.mp4")
