"""Speech and a bundle become one MP4: as long as the sound, labelled, over the chosen background, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.bundle import read_bundle
from core.clip.layout import Clip
from core.errors import BundleError, CancelledError, InputRefusedError, LikenessError, UsageError
from core.media.audio import decode_audio
from core.media.decode import decode_frames
from core.media.probe import probe, probe_picture
from core.progress import StageContext
from core.render import render_speech
from core.render.hearing import DrivingSpeech, prepare_speech
from tests.core.render.conftest import RATE, write_speech


@dataclass(frozen=True)
class Rendered:
    video: Path
    result: dict[str, object]
    progress: list[tuple[str, float]]


@pytest.fixture(scope="module")
def rendered(small_bundle: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """At twice the avatar's size, otherwise as a user who chooses nothing gets it."""
    video, seen = tmp_path_factory.mktemp("video") / "o.mp4", []
    context = StageContext(on_progress=lambda stage, fraction: seen.append((stage, fraction)))
    result = render_speech(small_bundle, speech, video, size=128, background=None, label=True, context=context)
    return Rendered(video, result, seen)


def pictures(video: Path, size: int) -> np.ndarray:
    return np.stack(list(decode_frames(video, probe_picture(video), crop=None, size=size)))


def test_the_package_is_whole(small_bundle: Path, small_clip: Clip, tmp_path: Path) -> None:
    opened = read_bundle(small_bundle)
    manifest = opened.manifest
    assert (manifest.size, manifest.fps, manifest.umf) == (small_clip.size, 25, None)
    assert (manifest.source_frames.start, manifest.source_frames.count) == (7, 30)
    preview = opened.extract("preview.mp4", tmp_path)
    assert pictures(preview, 64).shape == (30, 64, 64, 3)
    assert opened.read("preview.png").startswith(b"\x89PNG")


def test_picture_and_sound_are_as_long_as_the_speech(rendered: Rendered) -> None:
    result = rendered.result
    assert result["frames"] == 38
    assert result["output"] == str(rendered.video)
    assert result["seconds"] == pytest.approx(1.52)
    assert float(str(result["fps_model"])) >= float(str(result["fps_total"])) > 0
    info = probe(rendered.video)
    assert (info.width, info.height, info.video_codec) == (128, 128, "h264")
    assert pictures(rendered.video, 128).shape[0] == 38
    assert len(decode_audio(rendered.video)) == pytest.approx(1.52 * RATE, abs=RATE / 25)


def test_progress_only_grows(rendered: Rendered) -> None:
    assert rendered.progress[-1] == ("render", 1.0)
    assert all(a[1] <= b[1] for a, b in pairwise(rendered.progress))


def test_label_background_and_size_are_the_users_choice(
    rendered: Rendered, small_bundle: Path, speech: Path, tmp_path: Path
) -> None:
    output = tmp_path / "green.mp4"
    render_speech(small_bundle, speech, output, size=None, background="#00ff00", label=False, context=StageContext())
    green = pictures(output, 64).astype(int)
    assert np.abs(green[:, :6, :6] - (0, 255, 0)).max() < 25
    difference = np.abs(green.repeat(2, 1).repeat(2, 2) - pictures(rendered.video, 128)).mean((0, 3))
    torso, label = difference[100:106, 60:70], difference[110:124, 62:124]
    assert torso.mean() < 15
    assert label.mean() > 35


def test_every_failure_leaves_no_output(small_bundle: Path, speech: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "o.mp4"
    output.parent.mkdir()
    text = tmp_path / "x.wav"
    text.write_text("not a sound")
    empty = tmp_path / "empty.wav"
    empty.touch()
    silent = write_speech(tmp_path / "silent.wav", 1.5, level=0.0)
    damaged = tmp_path / "damaged.likeness"
    damaged.write_bytes(small_bundle.read_bytes()[:-40])

    def refused(kind: type[LikenessError], code: str | None = None, **changed: object) -> None:
        arguments = {
            "bundle": small_bundle,
            "audio": speech,
            "size": None,
            "background": None,
            "context": StageContext(),
        }
        arguments |= changed
        with pytest.raises(kind) as caught:
            render_speech(arguments.pop("bundle"), arguments.pop("audio"), output, label=True, **arguments)
        assert code is None or caught.value.code == code
        assert list(output.parent.iterdir()) == []

    refused(InputRefusedError, audio=text)
    refused(InputRefusedError, audio=empty)
    refused(InputRefusedError, "audio_silent", audio=silent)
    refused(UsageError, "file_not_found", audio=tmp_path / "absent.wav")
    refused(UsageError, "file_not_found", bundle=tmp_path / "absent.likeness")
    refused(BundleError, "bundle_damaged", bundle=damaged)
    refused(UsageError, "size_unusable", size=255)
    refused(UsageError, "size_unusable", size=100_000)
    refused(UsageError, "background_unknown", background="mauve")
    refused(InputRefusedError, "image_refused", background=str(text))
    refused(CancelledError, context=StageContext(is_cancelled=lambda: True))


def test_silence_sounds_like_silence_to_the_avatar(speech: Path) -> None:
    del speech
    t = np.arange(RATE) / RATE
    voice = (0.3 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)
    prepared = prepare_speech(np.concatenate([voice, np.zeros(2 * RATE, np.float32)]))
    assert prepared.frames == 75
    late = [prepared.windows(frame) for frame in (45, 55, 70)]
    np.testing.assert_allclose(late[0], late[1], atol=1e-6)
    np.testing.assert_allclose(late[1], late[2], atol=1e-6)
    assert np.abs(prepared.windows(12) - late[0]).mean() > 0.1
    assert prepared.windows(0).shape == (8, 16, 64)


def test_an_avatar_hears_its_own_rest_where_nobody_speaks(tmp_path: Path) -> None:
    t = np.arange(RATE) / RATE
    voice = (0.3 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)
    prepared = prepare_speech(np.concatenate([voice, np.zeros(2 * RATE, np.float32)]))
    rest = np.full((8, 16, 64), 7, np.float32)
    np.testing.assert_array_equal(prepared.windows(12, rest), prepared.windows(12))
    for frame in (45, 70, 500):
        np.testing.assert_array_equal(prepared.windows(frame, rest), rest)
    [edge, *_] = [frame for frame in range(20, 45) if 0 < prepared.voice[frame] < 1]
    share = prepared.voice[edge]
    expected = share * prepared.windows(edge) + (1 - share) * rest
    np.testing.assert_allclose(prepared.windows(edge, rest), expected, atol=1e-5)
    prepared.save(tmp_path / "speech.safetensors")
    again = DrivingSpeech.load(tmp_path / "speech.safetensors")
    np.testing.assert_array_equal(again.windows(edge, rest), prepared.windows(edge, rest))
