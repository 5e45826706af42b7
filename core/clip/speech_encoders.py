"""Which speech features a motion field hears: Whisper's, log-mel, or those of a network that a user brings.

A field, a bundle and a clip name the features that they were made with; others are refused. Knows audio as an array of
samples; must not know files of a clip, video or lips.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.clip.deepspeech import DeepSpeechEncoder
from core.clip.layout import SPEECH_RATE
from core.clip.log_mel import SAMPLE_RATE, log_mel
from core.clip.overlap import heard_in_pieces
from core.clip.torchscript import TorchScript
from core.clip.whisper import WhisperEncoder
from core.errors import MissingModelError
from core.settings import OwnModels

Floats = npt.NDArray[np.float32]

_STEP_SAMPLES = SAMPLE_RATE // SPEECH_RATE
_SETTING = "LIKENESS_SPEECH_MODEL"


class SpeechEncoder(Protocol):
    """Features of a recording at 50 Hz."""

    name: str
    """Stable; equal names mean equal features."""
    dimension: int
    """Numbers a step, D."""

    def encode(self, audio: Floats, threads: int | None = None) -> Floats:
        """[samples] mono at 16 kHz, -1..1 -> [ceil(samples / 320), D]; step i is centred at 20 i ms."""


class LogMelEncoder:
    """Whisper's log-mel spectrogram, three 10 ms columns to a step. Nothing learned, nothing to fetch."""

    name = "log-mel-80"
    dimension = 80
    _PEAK_DECADES = 2.0
    """Near the loudest that full scale gives; the floor lies 8 decades lower, whatever else is in the recording."""

    def encode(self, audio: Floats, threads: int | None = None) -> Floats:
        """See `SpeechEncoder.encode`."""
        del threads
        steps = -(-len(audio) // _STEP_SAMPLES)
        if steps == 0:
            return np.zeros((0, self.dimension), np.float32)
        # One step of silence before, so that the first column too lies between two.
        padded = np.pad(np.asarray(audio, np.float32), (_STEP_SAMPLES, (steps + 2) * _STEP_SAMPLES - len(audio)))
        columns = log_mel(padded, self._PEAK_DECADES).T
        at = 2 * np.arange(steps) + 2
        return np.asarray((columns[at - 1] + 2 * columns[at] + columns[at + 1]) / 4, np.float32)


class WaveEncoder:
    """wav2vec2, HuBERT, or another network that hears the waveform and answers every 20 ms from 25 ms of it.

    It hears 8 s at a time, every 4 s, the recording brought to mean 0 and variance 1 before, as they were trained.
    """

    _FIELD = 400
    """Samples that its first answer needs."""
    _HEARD = 400
    _HOP = 200

    def __init__(self, kind: str, path: Path) -> None:
        """Open the network.

        Args:
            kind: what it is, for the name.
            path: a TorchScript file ([1, samples] -> [1, steps, D]), or a folder that transformers' `AutoModel` reads.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`, `transformers_missing`.
        """
        self._run = _pretrained(path) if path.is_dir() else TorchScript(path, _SETTING).run
        self.name = _named(kind, path)
        self.dimension = int(self._heard(np.zeros(self._samples(), np.float32)).shape[-1])

    def _samples(self) -> int:
        return _STEP_SAMPLES * (self._HEARD - 1) + self._FIELD

    def _heard(self, audio: Floats) -> Floats:
        answer = self._run(audio[None])
        if answer.ndim != 3 or answer.shape[:2] != (1, self._HEARD):
            raise MissingModelError(
                "own_model_unusable",
                f"The model that {_SETTING} names answers in the shape {list(answer.shape)}, not every 20 ms.",
                "Bring a wav2vec2 or HuBERT model, see docs/models.md.",
            )
        return np.asarray(answer[0], np.float32)

    def encode(self, audio: Floats, threads: int | None = None) -> Floats:
        """See `SpeechEncoder.encode`."""
        del threads
        steps = -(-len(audio) // _STEP_SAMPLES)
        if steps == 0:
            return np.zeros((0, self.dimension), np.float32)
        sound = np.asarray(audio, np.float32)
        sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        # Step i is heard from the 400 samples around 320 i.
        before = _STEP_SAMPLES * self._HEARD + self._FIELD // 2
        surrounded = np.pad(sound, (before, 2 * self._samples()))

        def encode(starts: list[int]) -> Floats:
            at = [_STEP_SAMPLES * (start + self._HEARD) for start in starts]
            return np.stack([self._heard(surrounded[first : first + self._samples()]) for first in at])

        return heard_in_pieces(steps, self.dimension, self._HEARD, self._HOP, encode)


def _named(kind: str, path: Path) -> str:
    """The kind and what tells this model's weights from others'."""
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"{kind}-{digest.hexdigest()[:12]}"


def _pretrained(folder: Path) -> Any:
    """A waveform model of transformers: [1, samples] -> [1, steps, D]."""
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise MissingModelError(
            "transformers_missing",
            f"{_SETTING} names a folder, and the package transformers, which reads such, is not installed.",
            "Install transformers, or export the model as TorchScript.",
        ) from error
    import torch

    try:
        model = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingModelError(
            "own_model_unusable",
            f"The folder that {_SETTING} names holds no model that transformers can read.",
            "Put config.json and model.safetensors there.",
        ) from error

    def run(audio: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(audio)).last_hidden_state.numpy(), np.float32)

    return run


@cache
def open_encoder(models: OwnModels) -> SpeechEncoder:
    """The encoder that the settings name; opened once.

    Raises:
        MissingModelError: `own_model_missing`, `own_model_unusable`, `transformers_missing`.
    """
    if models.speech_features == "whisper":
        return WhisperEncoder()
    if models.speech_features == "log-mel":
        return LogMelEncoder()
    path = models.speech_model or Path()
    if models.speech_features == "deepspeech":
        model = TorchScript(path, _SETTING)
        return DeepSpeechEncoder(model, _named("deepspeech", path))
    return WaveEncoder(models.speech_features, path)
