"""The contact sheet: one picture that shows at a glance what was found in a clip, and what is wrong with it.

A header with verdict and codes; six frames spread over the clip, each with landmarks, masks, pose, depth and normals;
below them the mouth's opening over the waveform. Parses those six frames, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.drawing import CARE, FAINT, GOOD, INK, PAPER, Picture, chip, cut_to_width, write
from core.clip.evidence import Evidence
from core.clip.frame_views import AXIS_COLOURS, MASK_COLOURS, geometry_views, landmark_view, mask_view, pose_view
from core.clip.lag import Lag
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS
from core.clip.parsers import open_parser
from core.clip.parsing import KEY_FRAMES
from core.clip.rotations import yaw_pitch_roll
from core.clip.scaling import scaled_labels, scaled_picture
from core.clip.sound_view import sound_view
from core.settings import load_own_models

FRAMES = 6
_TILE = 256
_GAP = 4
_SIDE = 104
"""Width of the column that says what a row shows."""
_SOUND = 220
_ROWS = (
    ("landmarks", "478 points,", "lips"),
    ("masks", "", ""),
    ("pose", "head space", "ears, crown"),
    ("depth", "of the mesh", "warm: near"),
    ("normals", "of the mesh", ""),
)


@dataclass(frozen=True)
class Shown:
    """What a sheet is drawn from."""

    name: str
    """Of the video."""
    report: dict[str, Any]
    evidence: Evidence
    lag: Lag
    camera: Camera
    """Of the pictures."""
    picture_of: Callable[[int], Picture]
    """Gives the picture [S, S, 3] of each frame in `evidence.appearance.numbers`."""


def draw_sheet(shown: Shown, tick: Callable[[float], None]) -> Picture:
    """The sheet [height, width, 3]; `tick` is told the share done, 0..1.

    Raises:
        MissingModelError: a model file is not on this machine.
    """
    numbers = shown.evidence.appearance.numbers
    chosen = numbers[np.linspace(0, len(numbers) - 1, min(FRAMES, len(numbers))).round().astype(int)]
    labels = _parsed(shown, chosen, tick)
    width = _SIDE + FRAMES * (_TILE + _GAP) + _GAP
    header = _header(shown, width)
    rows = np.full((len(_ROWS) * (_TILE + _GAP), width, 3), PAPER, np.uint8)
    for column, number in enumerate(chosen):
        left = _SIDE + column * (_TILE + _GAP)
        for row, view in enumerate(_views(shown, int(number), labels[column])):
            top = row * (_TILE + _GAP)
            rows[top : top + _TILE, left : left + _TILE] = view
        start = shown.evidence.plan.start
        write(rows, f"{(start + number) / FPS:.2f} s", (left + 6, 18), INK, 0.45)
        tick(0.8 + 0.2 * (column + 1) / len(chosen))
    _name_rows(rows)
    opening, seen = mouth_opening(shown.evidence.landmarks), shown.evidence.seen
    sound = np.full((_SOUND + 2 * _GAP, width, 3), PAPER, np.uint8)
    panel = sound_view(shown.evidence.sound, opening, seen, shown.lag, chosen, (width - _SIDE - _GAP, _SOUND))
    sound[_GAP : _GAP + _SOUND, _SIDE : width - _GAP] = panel
    write(sound, "mouth", (8, 24), INK, 0.5)
    write(sound, "and voice", (8, 42), FAINT, 0.42)
    return np.concatenate([header, rows, sound])


def _parsed(
    shown: Shown, chosen: npt.NDArray[np.integer], tick: Callable[[float], None]
) -> list[npt.NDArray[np.uint8]]:
    numbers, landmarks = shown.evidence.appearance.numbers, shown.evidence.landmarks
    keys = numbers[np.linspace(0, len(numbers) - 1, min(KEY_FRAMES, len(numbers))).round().astype(int)]
    parser = open_parser(load_own_models())
    model = parser.learn([shown.picture_of(int(key)) for key in keys], [landmarks[key] for key in keys])
    labels: list[npt.NDArray[np.uint8]] = []
    for done, number in enumerate(chosen):
        tick(0.4 + 0.4 * done / len(chosen))
        labels += parser.parse(model, [shown.picture_of(int(number))], landmarks[number : number + 1], range(1))
    return labels


def _views(shown: Shown, number: int, labels: npt.NDArray[np.uint8]) -> tuple[Picture, ...]:
    picture = shown.picture_of(number)
    scale = _TILE / picture.shape[0]
    small, camera = scaled_picture(picture, _TILE), shown.camera.scaled(scale)
    landmarks, track = shown.evidence.landmarks[number] * np.float32(scale), shown.evidence.track
    rotation, translation = track.rotations[number], track.translations[number]
    return (
        landmark_view(small, landmarks),
        mask_view(small, scaled_labels(labels, _TILE)),
        pose_view(small, rotation, translation, camera, yaw_pitch_roll(rotation)),
        *geometry_views(small, landmarks, rotation, translation, camera),
    )


def _name_rows(rows: Picture) -> None:
    for row, (name, *more) in enumerate(_ROWS):
        top = row * (_TILE + _GAP)
        write(rows, name, (8, top + 20), INK, 0.5)
        for number, text in enumerate(more):
            write(rows, text, (8, top + 38 + 17 * number), FAINT, 0.42)
    for number, (label, colour) in enumerate(MASK_COLOURS.items()):
        top = 1 * (_TILE + _GAP) + 32 + 20 * number
        rows[top : top + 12, 8:20] = colour
        write(rows, label.name.lower(), (26, top + 11), INK, 0.38)
    for number, (text, colour) in enumerate(zip(("x right", "y up", "z out"), AXIS_COLOURS, strict=True)):
        write(rows, text, (8, 2 * (_TILE + _GAP) + 76 + 17 * number), colour, 0.42)
    for number, (text, colour) in enumerate(
        (("red: right", AXIS_COLOURS[0]), ("green: up", AXIS_COLOURS[1]), ("blue: out", AXIS_COLOURS[2]))
    ):
        write(rows, text, (8, 4 * (_TILE + _GAP) + 58 + 17 * number), colour, 0.42)


def _header(shown: Shown, width: int) -> Picture:
    report, warnings = shown.report, shown.report["warnings"]
    header = np.full((78 + 27 * max(1, len(warnings)), width, 3), PAPER, np.uint8)
    x = 8 + write(header, cut_to_width(shown.name, 500, 0.8), (8, 32), INK, 0.8) + 20
    good = not warnings
    chip(header, "usable" if good else "usable, with warnings", (x, 30), GOOD if good else CARE, 0.6)
    start, stop = report["used"]
    facts = (
        f"{report['size'][0]}x{report['size'][1]}, {report['fps']:g} fps, {report['duration_s']:.1f} s;"
        f" used {start:.2f}-{stop:.2f} s; face {report['face_px']:.0f} px; pose error {report['pose_rmse_px']:.2f} px;"
        f" brightness {report['brightness']:.0f}; blur {report['blur']:.2f}; speech {report['speech_seconds']:.1f} s;"
        f" {report['bits_per_face_pixel'] or 0:.2f} bits a face pixel"
    )
    write(header, facts, (8, 58), FAINT, 0.45)
    y = 86
    if good:
        write(header, "nothing to warn about", (8, y), FAINT, 0.45)
    for warning in warnings:
        x = 8 + chip(header, warning["code"], (8, y), CARE, 0.42) + 10
        told = f"{warning['message']} {warning['hint']}"
        write(header, cut_to_width(told, width - x - 10, 0.42), (x, y), INK, 0.42)
        y += 27
    return header
