"""The sound of a clip under the movement of its mouth, drawn: waveform, voice, opening, and the lag between the two."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.drawing import FAINT, INK, PANEL, Picture, line, write
from core.clip.lag import Lag
from core.clip.layout import FPS
from core.clip.voicing import FRAME, voiced_frames

_WAVE = (86, 104, 140)
_VOICE = (44, 66, 58)
_OPENING = (255, 190, 70)
_SHIFTED = (120, 220, 255)


def sound_view(
    sound: npt.NDArray[np.float32],
    opening: npt.NDArray[np.floating],
    seen: npt.NDArray[np.bool_],
    lag: Lag,
    marks: npt.NDArray[np.integer],
    size: tuple[int, int],
) -> Picture:
    """A panel [height, width, 3].

    Args:
        sound: [n] 16 kHz, from frame 0.
        opening: [T] of the mouth, any unit.
        seen: [T] frames with a face.
        lag: what was measured; where it is sure, the opening is drawn again where its sound lies.
        marks: frames to mark on the axis.
        size: width and height.
    """
    width, height = size
    panel = np.full((height, width, 3), PANEL, np.uint8)
    count, top, bottom = len(opening), 26, height - 24
    middle, reach = (top + bottom) // 2, (bottom - top) // 2
    for number in np.nonzero(voiced_frames(sound, count))[0]:
        left, right = round(number * width / count), round((number + 1) * width / count)
        panel[top:bottom, left:right] = _VOICE
    _draw_wave(panel, sound, count, middle, reach)
    level = (opening - opening.min()) / max(float(np.ptp(opening)), 1e-6)
    for shift, colour in ((lag.frames, _SHIFTED), (0, _OPENING)) if lag.sure and lag.frames else ((0, _OPENING),):
        x = (np.arange(count) + shift + 0.5) * width / count
        y = bottom - 3 - level * (bottom - top - 6)
        for run in _runs(seen):
            line(panel, np.stack([x[run], y[run]], 1), colour, weight=2 if colour is _OPENING else 1)
    for second in range(int(count / FPS) + 1):
        x0 = round(second * FPS * width / count)
        cv2.line(panel, (x0, bottom), (x0, bottom + 5), FAINT, 1)
        if second % max(1, count // (20 * FPS)) == 0:
            write(panel, f"{second} s", (x0 + 4, height - 8), FAINT, 0.4)
    for mark in marks:
        x0 = round((int(mark) + 0.5) * width / count)
        cv2.line(panel, (x0, top), (x0, bottom), FAINT, 1)
    _legend(panel, lag)
    return panel


def _draw_wave(panel: Picture, sound: npt.NDArray[np.float32], count: int, middle: int, reach: int) -> None:
    width = panel.shape[1]
    whole = np.zeros(count * FRAME, np.float32)
    whole[: min(len(sound), len(whole))] = sound[: len(whole)]
    edges = np.linspace(0, len(whole), width + 1).astype(int)
    peak = max(float(np.abs(whole).max()), 1e-4)
    for column in range(width):
        part = whole[edges[column] : max(edges[column] + 1, edges[column + 1])] / peak
        low, high = middle - round(float(part.max()) * reach), middle - round(float(part.min()) * reach)
        panel[low : high + 1, column] = _WAVE


def _runs(seen: npt.NDArray[np.bool_]) -> list[slice]:
    """Stretches of frames with a face, of two and more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]


def _legend(panel: Picture, lag: Lag) -> None:
    x = 8
    x += write(panel, "mouth opening", (x, 17), _OPENING, 0.45) + 18
    x += write(panel, "waveform", (x, 17), (140, 160, 200), 0.45) + 18
    cv2.rectangle(panel, (x, 7), (x + 14, 19), _VOICE, -1)
    x += 20 + write(panel, "voice", (x + 20, 17), INK, 0.45) + 18
    if not lag.sure:
        write(panel, f"lag: not sure (correlation {lag.correlation:.2f})", (x, 17), INK, 0.45)
        return
    told = f"lag {lag.frames:+d} frames ({40 * lag.frames:+d} ms), correlation {lag.correlation:.2f}"
    x += write(panel, told, (x, 17), INK, 0.45) + 18
    if lag.frames:
        write(panel, "opening where its sound lies", (x, 17), _SHIFTED, 0.45)
