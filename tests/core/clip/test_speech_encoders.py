"""Every kind of speech features through one interface: timing, borders, names, and what does not fit is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from core.clip.deepspeech import cepstral_coefficients
from core.clip.fit_speech_projection import fit_projection
from core.clip.speech import encode_speech, reduce_speech, speech_encoder
from core.clip.speech_encoders import LogMelEncoder, SpeechEncoder, WaveEncoder, open_encoder
from core.clip.whisper import WhisperEncoder
from core.errors import BundleError, MissingModelError, UsageError
from core.learn.umf import find_umf
from core.settings import load_own_models
from tests.core.clip.own_models import TinyLetters, TinySegmenter, TinyWave, save
from tests.core.clip.test_speech import babble


@pytest.fixture(scope="module")
def wave_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(TinyWave(24), tmp_path_factory.mktemp("wave") / "tiny.pt")


@pytest.fixture(params=["whisper", "log-mel", "wav2vec2", "deepspeech"])
def encoder(request: pytest.FixtureRequest, wave_file: Path) -> SpeechEncoder:
    model = wave_file if request.param == "wav2vec2" else save(TinyLetters(), wave_file.with_name("letters.pt"))
    return open_encoder(load_own_models(speech_features=request.param, speech_model=model))


def test_each_has_a_name_a_dimension_and_a_step_every_20_ms(encoder: SpeechEncoder) -> None:
    for samples in (0, 1, 320, 321, 20_000):
        found = encoder.encode(babble(2.0)[:samples])
        assert found.shape == (-(-samples // 320), encoder.dimension) and found.dtype == np.float32
    assert 0 < len(encoder.name) <= 64, "a manifest holds it"


def test_a_burst_is_heard_in_the_step_of_its_time(encoder: SpeechEncoder) -> None:
    quiet = 1e-3 * np.random.default_rng(0).normal(size=16000 * 3).astype(np.float32)
    for step in (40, 77):
        loud = quiet.copy()
        loud[320 * step - 80 : 320 * step + 80] += 0.5 * np.sin(np.arange(160)).astype(np.float32)
        loud[-1], quiet[-1] = 1.0, 1.0
        changed = np.linalg.norm(encoder.encode(loud) - encoder.encode(quiet), axis=1)[:-20]
        assert abs(int(changed.argmax()) - step) <= (6 if encoder.name.startswith("whisper") else 0)


def test_no_border_shows_wherever_a_sound_comes_in_a_long_recording(encoder: SpeechEncoder) -> None:
    """A period of 1.5 s, which no hop between pieces divides, comes again and again for 21 s."""
    once = babble(1.5)
    features = encoder.encode(np.tile(once, 14))[75:-75].reshape(12, 75, -1)
    spread = np.sqrt(((features - features.mean(0)) ** 2).mean()) / features.mean(0).std(0).mean()
    assert spread < (0.2 if encoder.name.startswith("whisper") else 1e-3)


def test_log_mel_of_a_moment_does_not_depend_on_what_else_is_loud() -> None:
    audio = babble(2.0)
    shouted = np.concatenate([audio, 5 * audio])
    assert np.allclose(LogMelEncoder().encode(shouted)[:95], LogMelEncoder().encode(audio)[:95], atol=1e-5)


def test_cepstral_coefficients_are_those_that_deepspeech_was_trained_on() -> None:
    """Some values of python_speech_features 0.6's `mfcc(..., numcep=26)` of the same sound, every second step."""
    time = np.arange(3200) / 16000
    sound = (0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time)).astype(np.float32)
    found = cepstral_coefficients(sound, 10)[[0, 5, 9]][:, [0, 1, 2, 13, 25]]
    expected = [
        [17.4542, 22.2327, 13.4911, -9.7982, -0.0448],
        [19.1966, 28.3424, 13.5913, 9.5699, -0.0866],
        [19.8105, 32.8674, 7.2620, -12.4044, -0.0136],
    ]
    assert np.allclose(found, expected, atol=2e-4)


def test_another_network_has_another_name(wave_file: Path, tmp_path: Path) -> None:
    other = WaveEncoder("hubert", save(TinyWave(24, seed=1), tmp_path / "other.pt"))
    same = WaveEncoder("hubert", wave_file)
    assert other.name != same.name and same.name.startswith("hubert-")
    assert same.name == WaveEncoder("hubert", wave_file).name


def test_a_folder_is_read_by_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which is no dependency: `AutoModel` as we call it."""
    network = TinyWave(8).eval()

    class AutoModel:
        @staticmethod
        def from_pretrained(folder: str, local_files_only: bool, use_safetensors: bool) -> AutoModel:
            assert local_files_only and use_safetensors and folder == str(tmp_path)
            return AutoModel()

        def eval(self) -> AutoModel:
            return self

        def __call__(self, sound: torch.Tensor) -> types.SimpleNamespace:
            return types.SimpleNamespace(last_hidden_state=network(sound))

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoModel=AutoModel))
    found = WaveEncoder("wav2vec2", tmp_path)
    script = WaveEncoder("wav2vec2", save(network, tmp_path / "same.pt"))
    assert np.allclose(found.encode(babble(1.0)), script.encode(babble(1.0)), atol=1e-5)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingModelError) as refused:
        WaveEncoder("wav2vec2", tmp_path)
    assert refused.value.code == "transformers_missing"


def test_what_can_not_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as settings:
        load_own_models(speech_features="hubert")
    assert settings.value.code == "bad_settings" and "LIKENESS_SPEECH_MODEL" in settings.value.message
    with pytest.raises(MissingModelError) as absent:
        WaveEncoder("hubert", tmp_path / "absent.pt")
    assert absent.value.code == "own_model_missing"
    with pytest.raises(MissingModelError) as wrong:
        WaveEncoder("hubert", save(TinySegmenter(3, 8, 8, 0.0, 1.0), tmp_path / "pictures.pt"))
    assert wrong.value.code == "own_model_unusable"


def test_features_of_another_kind_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whispered = encode_speech(babble(1.0))
    assert reduce_speech(whispered, WhisperEncoder.name).shape == (50, 64)
    with pytest.raises(UsageError) as named:
        reduce_speech(whispered, "hubert-0123")
    assert named.value.code == "speech_features_differ" and "hubert-0123" in named.value.message
    assert find_umf("base") is not None
    monkeypatch.setenv("LIKENESS_SPEECH_FEATURES", "log-mel")
    with pytest.raises(UsageError) as differs:
        reduce_speech(whispered)
    assert differs.value.code == "speech_features_differ"
    with pytest.raises(BundleError) as field:
        find_umf("base")
    assert field.value.code == "umf_of_other_speech"


def test_other_features_are_reduced_by_a_projection_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKENESS_SPEECH_FEATURES", "log-mel")
    features = encode_speech(babble(6.0))
    with pytest.raises(UsageError) as missing:
        reduce_speech(features)
    assert missing.value.code == "speech_projection_unusable"
    mean, projection, _ = fit_projection(features)
    path = tmp_path / "projection.safetensors"
    monkeypatch.setenv("LIKENESS_SPEECH_PROJECTION", str(path))
    save_file({"mean": mean, "projection": projection}, path, metadata={"features": speech_encoder().name})
    reduced = reduce_speech(features)
    assert reduced.shape == (300, 64) and 0.5 < reduced.std() < 1.5
    elsewhere = tmp_path / "elsewhere.safetensors"
    save_file({"mean": mean, "projection": projection}, elsewhere, metadata={"features": WhisperEncoder.name})
    monkeypatch.setenv("LIKENESS_SPEECH_PROJECTION", str(elsewhere))
    with pytest.raises(UsageError):
        reduce_speech(features)
