"""Speech as an avatar hears it: encoded once for the whole recording, and kept in a file for whoever makes frames.

Knows no avatar and no pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from core.clip.speech import encode_speech, reduce_speech, speech_windows
from core.clip.voice import frame_voice, voice_gate
from core.media.audio import check_speech_level, decode_audio
from core.render.driving import SAMPLE_RATE, fade_to_silence, frame_count

_PADDING_STEPS = 50
"""1 s of silence before and after the speech, so that the first and last windows hear silence and not nothing."""
_QUIET_STEPS = slice(10, 40)
"""Steps of the padding far enough from its ends: what silence sounds like to the encoder beside this voice."""


@dataclass(frozen=True)
class DrivingSpeech:
    """Speech as the avatar hears it."""

    features: npt.NDArray[np.float32]
    """[n, 64] at 50 Hz, silence faded in where nobody speaks."""
    zero: int
    """Index in `features` of time 0."""
    frames: int
    """Frames that cover the speech."""
    voice: npt.NDArray[np.float32]
    """[frames] how much each counts as speech, 0..1."""

    def windows(self, frame: int, rest: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """[8, 16, 64] around one frame; frames past the end hear silence.

        Args:
            frame: from 0.
            rest: [8, 16, 64] what the avatar hears instead where nobody speaks; None: silence as it sounds.
        """
        heard = np.asarray(speech_windows(self.features, self.zero, np.array([frame]))[0], np.float32)
        if rest is None:
            return heard
        share = self.voice[frame] if frame < len(self.voice) else np.float32(0)
        return np.asarray(share * heard + (1 - share) * rest, np.float32)

    def save(self, path: Path) -> None:
        """Write a file that appears in one piece."""
        partial = path.with_name(path.name + ".partial")
        told = {"zero": str(self.zero), "frames": str(self.frames)}
        arrays = {"features": np.ascontiguousarray(self.features), "voice": np.ascontiguousarray(self.voice)}
        save_file(arrays, partial, metadata=told)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> DrivingSpeech:
        """What `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            told = file.metadata()
            features, voice = file.get_tensor("features"), file.get_tensor("voice")
            return cls(features, int(told["zero"]), int(told["frames"]), voice)


def hear(audio: Path) -> DrivingSpeech:
    """Decode and encode a recording, in any format that `core.media` reads.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `audio_silent`, `no_audio`, or what `core.media` says of a file that it can't read.
    """
    samples = decode_audio(audio)
    check_speech_level(samples)
    return prepare_speech(samples)


def prepare_speech(samples: npt.NDArray[np.float32]) -> DrivingSpeech:
    """Encode a recording for driving.

    Args:
        samples: [n] float32, 16 kHz mono.
    """
    padding = np.zeros(_PADDING_STEPS * SAMPLE_RATE // 50, np.float32)
    padded = np.concatenate([padding, samples, padding])
    features = reduce_speech(encode_speech(padded))
    silence = np.concatenate([features[_QUIET_STEPS], features[len(features) - _PADDING_STEPS :][_QUIET_STEPS]]).mean(0)
    gate = voice_gate(padded)[: len(features)]
    frames = frame_count(len(samples))
    voice = frame_voice(gate[_PADDING_STEPS:], np.arange(frames))
    return DrivingSpeech(fade_to_silence(features, gate, silence), _PADDING_STEPS, frames, voice)
