"""Speech and a bundle become one MP4: as long as the sound, labelled, over the chosen background, or nothing at all."""

from __future__ import annotations

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from core.avatar import Avatar, FaceField, Gaussians, MouthField
from core.bundle import package_avatar, read_bundle
from core.clip.layout import Clip
from core.errors import BundleError, CancelledError, InputRefusedError, LikenessError, MissingModelError, UsageError
from core.media.audio import decode_audio
from core.media.decode import decode_frames
from core.media.probe import probe, probe_picture
from core.models import locate
from core.progress import StageContext
from core.render import render_speech
from core.render.speech import prepare_speech

RATE = 16_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, small_clip: Clip) -> Path:
    torch.manual_seed(0)
    points = torch.randn(300, 3) * 0.02
    face = Gaussians.at(points, torch.rand(300, 3), torch.full((300,), 0.006), 0.8).frozen()
    mouth = Gaussians.at(points[:40] * 0.3, torch.rand(40, 3), torch.full((40,), 0.003), 0.5).frozen()
    path = tmp_path_factory.mktemp("bundle") / "b.likeness"
    package_avatar(path, Avatar(face, FaceField(), mouth, MouthField()), small_clip, "draft", "none", StageContext())
    return path


def write_speech(path: Path, seconds: float, level: float = 0.3) -> Path:
    """A buzz that comes and goes four times a second, as syllables do."""
    t = np.arange(round(seconds * RATE)) / RATE
    samples = level * np.sign(np.sin(2 * np.pi * 120 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((32767 * samples).astype("<i2").tobytes())
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    try:
        locate("whisper_tiny_en")
    except MissingModelError:
        pytest.skip("the speech encoder is not on this machine: likeness models fetch")
    return write_speech(tmp_path / "speech.wav", 1.5)


def pictures(video: Path, size: int) -> np.ndarray:
    return np.stack(list(decode_frames(video, probe_picture(video), crop=None, size=size)))


def test_the_package_is_whole(bundle: Path, small_clip: Clip, tmp_path: Path) -> None:
    opened = read_bundle(bundle)
    manifest = opened.manifest
    assert (manifest.size, manifest.fps, manifest.umf) == (small_clip.size, 25, None)
    assert (manifest.source_frames.start, manifest.source_frames.count) == (7, 30)
    preview = opened.extract("preview.mp4", tmp_path)
    assert pictures(preview, 64).shape == (30, 64, 64, 3)
    assert opened.read("preview.png").startswith(b"\x89PNG")


def test_picture_and_sound_are_as_long_as_the_speech(bundle: Path, speech: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "o.mp4", []
    context = StageContext(on_progress=lambda stage, fraction: seen.append((stage, fraction)))
    result = render_speech(bundle, speech, output, size=None, background=None, label=True, context=context)
    assert result["frames"] == 38
    assert result["output"] == str(output)
    assert result["seconds"] == pytest.approx(1.52)
    assert float(str(result["fps_model"])) >= float(str(result["fps_total"])) > 0
    info = probe(output)
    assert (info.width, info.height, info.video_codec) == (64, 64, "h264")
    assert pictures(output, 64).shape[0] == 38
    assert len(decode_audio(output)) == pytest.approx(1.52 * RATE, abs=RATE / 25)
    assert seen[-1] == ("render", 1.0)
    assert all(a[1] <= b[1] for a, b in pairwise(seen))


def test_label_background_and_size_are_the_users_choice(bundle: Path, speech: Path, tmp_path: Path) -> None:
    def frames(name: str, size: int | None, background: str | None, label: bool) -> np.ndarray:
        output = tmp_path / name
        render_speech(bundle, speech, output, size=size, background=background, label=label, context=StageContext())
        return pictures(output, size or 64).astype(int)

    plain = frames("plain.mp4", None, None, False)
    marked = frames("marked.mp4", None, None, True)
    difference = np.abs(plain - marked).max(axis=(0, 3))
    assert difference[50:].max() > 60
    assert difference[:40].max() < 25
    green = frames("green.mp4", 128, "#00ff00", False)
    assert green.shape[1:] == (128, 128, 3)
    assert np.abs(green[:, :12, :12] - (0, 255, 0)).max() < 25
    torso = np.abs(green[:, 112:124, 56:72] - plain[:, 56:62, 28:36].repeat(2, 1).repeat(2, 2))
    assert torso.mean() < 12


def test_every_failure_leaves_no_output(bundle: Path, speech: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "o.mp4"
    output.parent.mkdir()
    text = tmp_path / "x.wav"
    text.write_text("not a sound")
    empty = tmp_path / "empty.wav"
    empty.touch()
    silent = write_speech(tmp_path / "silent.wav", 1.5, level=0.0)
    damaged = tmp_path / "damaged.likeness"
    damaged.write_bytes(bundle.read_bytes()[:-40])

    def refused(kind: type[LikenessError], code: str | None = None, **changed: object) -> None:
        arguments = {"bundle": bundle, "audio": speech, "size": None, "background": None, "context": StageContext()}
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
