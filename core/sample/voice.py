"""A formant synthesiser: glottal pulses and noise through moving resonators, after Klatt (1980). Knows no pictures.

Control tracks run at 400 Hz; each resonator is a second-order filter whose coefficients change at that rate while its
state carries over, which is smooth enough to be free of clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, lfilter, sosfilt

from core.sample.phones import PAUSE, PHONES, TimedPhone

Float = npt.NDArray[np.float64]

RATE = 24000
"""Samples a second."""
CONTROL = 400
"""Control frames a second."""
HOP = RATE // CONTROL
ONSET_OF_BURST = 0.62
"""Fraction of a stop that is closure."""
BURST_SECONDS = 0.012


@dataclass(frozen=True)
class Voice:
    """Who speaks."""

    pitch: float
    """Mean fundamental in Hz."""
    tract: float
    """Formant scale: 1 a woman, about 0.86 a man."""
    breath: float = 0.03
    """Aspiration mixed into the voiced source."""
    range: float = 1.0
    """How lively the intonation is."""


@dataclass
class _Controls:
    """Control tracks [n] (or [n, 3]), before smoothing step functions of time."""

    formants: Float
    voice: Float
    breath: Float
    noise: Float
    low: Float
    high: Float
    nasal: Float
    pitch: Float


def _frames(track: list[TimedPhone]) -> int:
    return int(np.ceil(track[-1].end * CONTROL))


def _window(start: float, end: float) -> slice:
    return slice(round(start * CONTROL), max(round(start * CONTROL) + 1, round(end * CONTROL)))


def _steps(track: list[TimedPhone], voice: Voice) -> _Controls:
    count = _frames(track)
    zero = np.zeros(count)
    out = _Controls(np.full((count, 3), 500.0), zero.copy(), zero.copy(), zero.copy(), zero + 3000.0, zero + 6000.0,
                    zero.copy(), zero.copy())  # fmt: skip
    for place, item in enumerate(track):
        phone = item.phone
        here = _window(item.start, item.end)
        out.formants[here] = phone.formants
        if item.name in (PAUSE, "HH"):
            beside = track[place + 1] if place + 1 < len(track) else track[place - 1]
            out.formants[here] = beside.phone.formants
        out.low[here], out.high[here] = phone.band
        out.nasal[here] = phone.nasal
        if phone.glide_to:
            turn = item.start + 0.45 * (item.end - item.start)
            out.formants[_window(turn, item.end)] = PHONES[phone.glide_to].formants
        if phone.kind == "stop":
            burst = item.start + ONSET_OF_BURST * (item.end - item.start)
            out.voice[_window(item.start, burst)] = phone.voice * 0.5
            long = item.name in ("CH", "JH")
            out.noise[_window(burst, item.end if long else burst + BURST_SECONDS)] = phone.noise
            out.breath[_window(burst, item.end)] = phone.breath
            if phone.voice > 0:
                out.voice[_window(burst + BURST_SECONDS, item.end)] = 0.7
        else:
            out.voice[here] = phone.voice * (1.0 if item.stressed or phone.kind != "vowel" else 0.85)
            out.breath[here] = phone.breath
            out.noise[here] = phone.noise
    out.formants *= voice.tract
    out.pitch = _intonation(track, voice, count)
    return out


def _intonation(track: list[TimedPhone], voice: Voice, count: int) -> Float:
    """[n] fundamental in Hz: declination over each phrase, a rise on stressed vowels, a fall at the end."""
    shape = np.zeros(count)
    time = np.arange(count) / CONTROL
    pauses = [item for item in track if item.name == PAUSE]
    for before, after in pairwise(pauses):
        here = slice(round(before.end * CONTROL), round(after.start * CONTROL))
        phase = (time[here] - before.end) / max(after.start - before.end, 1e-3)
        final = after.end - after.start > 0.4
        shape[here] = 0.12 - 0.22 * phase - (0.14 if final else -0.05) * np.clip((phase - 0.8) / 0.2, 0, 1)
    for item in track:
        if item.stressed:
            middle = item.start + 0.4 * (item.end - item.start)
            shape += 0.16 * np.exp(-0.5 * ((time - middle) / 0.07) ** 2)
    shape = gaussian_filter1d(shape, 0.025 * CONTROL) * voice.range
    return np.asarray(voice.pitch * np.exp(shape + 0.008 * np.sin(2 * np.pi * 4.7 * time)), np.float64)


def _glottal(pitch: Float, count: int, rng: np.random.Generator) -> Float:
    """Derivative of the glottal flow [count samples]: a KLGLOTT88 pulse a period, with jitter and shimmer."""
    signal = np.zeros(count + RATE // 20)
    position = 0.0
    while position < count:
        f0 = float(pitch[min(int(position / HOP), len(pitch) - 1)]) * (1 + 0.008 * float(rng.standard_normal()))
        period = RATE / f0
        start = int(np.ceil(position))
        open_time = 0.62 * period
        t = (np.arange(start, int(position + open_time) + 1) - position) / open_time
        t = t[(t >= 0) & (t <= 1)]
        pulse = 2 * t - 3 * t * t
        signal[start : start + len(t)] += pulse * (1 + 0.04 * float(rng.standard_normal()))
        position += period
    tilted = lfilter([0.55], [1, -0.45], signal[:count])
    return np.asarray(tilted, np.float64)


def _resonate(signal: Float, frequency: Float, bandwidth: Float, invert: bool = False) -> Float:
    """A moving resonator (or, inverted, an anti-resonator); unit gain at 0 Hz; controls [n] in Hz.

    Coefficients change every second control frame, which halves the time and is not heard.
    """
    radius = np.exp(-np.pi * bandwidth[::2] / RATE)
    b = 2 * radius * np.cos(2 * np.pi * frequency[::2] / RATE)
    c = -radius * radius
    a = 1 - b - c
    out = np.empty_like(signal)
    state = np.zeros(2)
    past = np.zeros(2)
    for k in range(len(a)):
        here = slice(2 * k * HOP, 2 * (k + 1) * HOP)
        if invert:
            out[here], state = lfilter((1 / a[k], -b[k] / a[k], -c[k] / a[k]), (1.0,), signal[here], zi=state)
            continue
        state = np.array((b[k] * past[0] + c[k] * past[1], c[k] * past[0]))
        out[here], _ = lfilter((a[k],), (1.0, -b[k], -c[k]), signal[here], zi=state)
        past = out[here][:-3:-1]
    return out


def _resonate_fixed(signal: Float, frequency: float, bandwidth: float) -> Float:
    """A resonator that stays where it is."""
    radius = float(np.exp(-np.pi * bandwidth / RATE))
    b, c = 2 * radius * float(np.cos(2 * np.pi * frequency / RATE)), -radius * radius
    return np.asarray(lfilter((1 - b - c,), (1.0, -b, -c), signal), np.float64)


def _frication(controls: _Controls, count: int, rng: np.random.Generator) -> Float:
    """Noise in each fricative's own band, from white noise through one band-pass for every band in use."""
    white = rng.standard_normal(count)
    out = np.zeros(count)
    bands = np.stack([controls.low, controls.high], 1)
    for low, high in np.unique(bands, axis=0):
        here = ((bands == (low, high)).all(1) * controls.noise).astype(np.float64)
        if here.max() <= 0:
            continue
        gain = np.repeat(gaussian_filter1d(here, 0.005 * CONTROL), HOP)[:count]
        shaped = sosfilt(butter(2, [low, min(high, RATE * 0.48)], "bandpass", fs=RATE, output="sos"), white)
        out += gain * shaped / shaped.std()
    return out


def synthesise(track: list[TimedPhone], voice: Voice, seed: int) -> npt.NDArray[np.float32]:
    """Speech of a phone track: [n] mono at RATE, peak 0.7, aligned to the track within a few milliseconds."""
    rng = np.random.default_rng(seed)
    controls = _steps(track, voice)
    frames = len(controls.voice)
    count = frames * HOP

    def smooth(values: Float, seconds: float) -> Float:
        return np.asarray(gaussian_filter1d(values, seconds * CONTROL, axis=0, mode="nearest"), np.float64)

    def dense(values: Float) -> Float:
        return np.interp(np.arange(count), np.arange(frames) * HOP + HOP / 2, values)

    formants = smooth(controls.formants, 0.018)
    nasal = smooth(controls.nasal, 0.008)
    white = rng.standard_normal(count)
    pulses = _glottal(controls.pitch, count, rng)
    loud = dense(smooth(controls.voice, 0.006))
    breathy = dense(smooth(controls.breath, 0.006))
    source = pulses * loud + white * (0.10 * breathy + voice.breath * loud * np.clip(pulses, 0, 1))
    nose = 270.0 * voice.tract
    source = _resonate(source, nose + 200 * nasal, np.full(frames, 100.0), invert=True)
    source = _resonate_fixed(source, nose, 100.0)
    widths = (70 + 60 * nasal, 95 + 80 * nasal, 140 + 100 * nasal)
    for k in range(3):
        source = _resonate(source, formants[:, k], np.asarray(widths[k], np.float64))
    for frequency, width in ((4100.0, 250.0), (5000.0, 350.0)):
        source = _resonate_fixed(source, frequency * voice.tract, width)
    spoken = np.append(source[0], np.diff(source))  # radiation at the lips
    level = np.sqrt(np.mean(spoken[loud > 0.7] ** 2)) if (loud > 0.7).any() else 1.0
    signal = spoken / level + 0.55 * _frication(controls, count, rng)
    signal = sosfilt(butter(1, 60, "highpass", fs=RATE, output="sos"), signal)
    room = np.zeros(count)
    for delay, gain in ((0.0113, 0.10), (0.0191, 0.07), (0.0297, 0.045)):
        shift = int(delay * RATE)
        room[shift:] += gain * signal[:-shift]
    signal = signal + lfilter([0.5], [1, -0.5], room)
    signal = np.tanh(signal / 4.5)
    signal = signal / np.abs(signal).max() * 0.7 + 2e-4 * rng.standard_normal(count)
    return np.asarray(signal[: int(track[-1].end * RATE)], np.float32)
