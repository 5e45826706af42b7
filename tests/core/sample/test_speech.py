"""The voice against its phone track: timing to within 20 ms, silence in pauses, words that a recogniser hears."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import resample_poly

from core.errors import MissingModelError
from core.media import decode_audio
from core.sample import Sample
from core.sample.articulation import RATE as STEPS
from core.sample.articulation import articulate
from core.sample.phones import PAUSE, SPEECH_A, TALK, TimedPhone, speak
from core.sample.voice import RATE, Voice, synthesise

Truth = Mapping[str, npt.NDArray[Any]]

HOP = 0.005


def _level(signal: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float64]:
    """RMS of each 5 ms."""
    width = round(HOP * rate)
    whole = signal[: len(signal) // width * width].reshape(-1, width).astype(np.float64)
    return np.sqrt((whole**2).mean(1))


def _pauses(truth: Truth) -> list[tuple[float, float]]:
    rows = zip(truth["phone_names"], truth["phone_starts"], truth["phone_ends"], strict=True)
    return [(float(start), float(end)) for name, start, end in rows if name == PAUSE]


def test_sound_in_the_video_begins_when_the_phone_track_says(made: Sample, truth: Truth) -> None:
    level = _level(decode_audio(made.video, rate=RATE), RATE)
    loud = level > 0.02 * level.max()
    names, starts = truth["phone_names"], truth["phone_starts"]
    checked = 0
    for place in range(1, len(names)):
        if names[place - 1] != PAUSE or names[place] == PAUSE:
            continue
        first = round((starts[place] - 0.08) / HOP)
        onset = (first + int(np.argmax(loud[first : first + 60]))) * HOP
        assert onset == pytest.approx(starts[place], abs=0.02), names[place]
        checked += 1
    assert checked >= 2


def test_pauses_are_silent(made: Sample, truth: Truth) -> None:
    level = _level(decode_audio(made.video, rate=RATE), RATE)
    for start, end in _pauses(truth):
        inside = level[round((start + 0.09) / HOP) : round((end - 0.03) / HOP)]
        assert inside.max(initial=0) < 0.02 * level.max()


def test_the_mouth_is_shut_in_the_pauses(truth: Truth) -> None:
    long = [(start, end) for start, end in _pauses(truth) if end - start > 0.3]
    assert long
    for start, end in long:
        shut = (truth["times"] > start + 0.1) & (truth["times"] < end - 0.1)
        assert truth["mouth_opening_px"][shut].max(initial=0) < 0.8


def test_lips_meet_in_every_p_b_and_m() -> None:
    track = speak(TALK, None, 0.3, 1.0, 0)
    mouth = articulate(track)
    for item in track:
        middle = round((item.start + item.end) / 2 * STEPS)
        if item.name in ("P", "B", "M"):
            assert mouth.part[middle] < 0.05
        if item.name in ("AA", "AE", "AY", "AW") and item.stressed:
            assert mouth.part[middle] > 0.8
            assert mouth.jaw[middle] > 0.005


def test_vowels_have_their_own_formants() -> None:
    """The strongest harmonic region of long steady vowels follows the table: ee high and low, ah in between."""
    peaks = {}
    for name in ("IY", "AA", "UW"):
        signal = synthesise([TimedPhone(name, 0.0, 0.6, True)], Voice(pitch=110.0, tract=1.0), 0)
        middle = signal[int(0.2 * RATE) : int(0.4 * RATE)]
        power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
        hertz = np.fft.rfftfreq(len(middle), 1 / RATE)
        smooth = np.convolve(power, np.ones(25) / 25, "same")
        peaks[name] = {
            "low": float(hertz[np.argmax(np.where((hertz > 200) & (hertz < 1100), smooth, 0))]),
            "high": float(hertz[np.argmax(np.where((hertz > 2000) & (hertz < 3200), smooth, 0))]),
        }
    assert peaks["AA"]["low"] > 650 > 500 > max(peaks["IY"]["low"], peaks["UW"]["low"])
    assert peaks["IY"]["high"] == pytest.approx(2790, abs=250)


def test_a_speech_recogniser_hears_the_words() -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    from core.clip.log_mel import log_mel
    from core.models import locate

    try:
        folder = Path(locate("whisper_tiny_en"))
    except MissingModelError as error:
        pytest.skip(f"the speech model is absent: {error.message}")
    track = speak(SPEECH_A, None, 0.3, 1.0, 0)
    signal = synthesise(track, Voice(pitch=205.0, tract=1.0), 0)
    sound = resample_poly(signal, 2, 3).astype(np.float32)
    sound = np.pad(sound, (0, 480_000 - len(sound)))
    recogniser = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=1)
    spectrum = np.ascontiguousarray(log_mel(sound)[None, :, :3000], np.float32)
    prompt = [[50257, 50362]]  # start of transcript, no time stamps
    heard = recogniser.generate(ctranslate2.StorageView.from_array(spectrum), prompt, beam_size=1)[0].sequences_ids[0]
    words = (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    text = "".join(words[token] for token in heard).replace("Ġ", " ").lower()
    spoken = ("no", "one", "ever", "said", "these", "words", "every", "sound", "you", "hear", "small", "book", "rules")
    assert sum(word in text for word in spoken) >= 9, text


def test_speeches_are_plain_wav_files_of_two_voices(made: Sample) -> None:
    pitches = []
    for path in (made.speech_a, made.speech_b):
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getframerate()) == (1, RATE)
            signal = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        spectrum = np.abs(np.fft.rfft(signal)) ** 2
        periodicity = np.fft.irfft(spectrum)
        lags = np.arange(RATE // 320, RATE // 90)
        pitches.append(RATE / lags[np.argmax(periodicity[lags])])
    assert pitches[1] > 1.5 * pitches[0]
