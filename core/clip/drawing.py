"""Marks on pictures: text, chips, lines, colour scales. Draws on arrays; knows nothing of clips."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

INK: Colour = (232, 234, 237)
FAINT: Colour = (150, 155, 165)
PAPER: Colour = (24, 26, 31)
PANEL: Colour = (38, 41, 48)
GOOD: Colour = (64, 160, 96)
CARE: Colour = (214, 140, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write(sheet: Picture, text: str, place: tuple[int, int], colour: Colour = INK, size: float = 0.5) -> int:
    """Write a line with its left end and baseline at `place` (x, y). Returns its width in pixels.

    The font is OpenCV's own: what lies outside ASCII is shown as a question mark.
    """
    plain = text.encode("ascii", "replace").decode()
    weight = 2 if size >= 0.8 else 1
    cv2.putText(sheet, plain, place, _FONT, size, colour, weight, cv2.LINE_AA)
    return int(cv2.getTextSize(plain, _FONT, size, weight)[0][0])


def chip(sheet: Picture, text: str, place: tuple[int, int], colour: Colour, size: float = 0.5) -> int:
    """Write a line on a box of `colour`; place and result as for `write`, with the box's own margins."""
    (width, height), _ = cv2.getTextSize(text, _FONT, size, 1)
    left, base = place
    cv2.rectangle(sheet, (left, base - height - 6), (left + width + 14, base + 7), colour, -1, cv2.LINE_AA)
    write(sheet, text, (left + 7, base), (255, 255, 255), size)
    return int(width) + 14


def cut_to_width(text: str, width: int, size: float) -> str:
    """The text, or its start and dots, so that it is at most `width` pixels wide."""
    while text and cv2.getTextSize(text, _FONT, size, 1)[0][0] > width:
        text = text[:-4].rstrip() + "..." if len(text) > 4 else ""
    return text


def line(
    sheet: Picture, points: npt.NDArray[np.floating], colour: Colour, closed: bool = False, weight: int = 1
) -> None:
    """A line through [n, 2] points, to a sixteenth of a pixel."""
    fixed = np.round(np.asarray(points, np.float64) * 16).astype(np.int32)
    cv2.polylines(sheet, [fixed], closed, colour, weight, cv2.LINE_AA, 4)


def dots(sheet: Picture, points: npt.NDArray[np.floating], colour: Colour, radius: float = 1.0) -> None:
    """A dot on each of [n, 2] points."""
    for x, y in np.asarray(points, np.float64):
        cv2.circle(sheet, (round(x * 16), round(y * 16)), round(radius * 16), colour, -1, cv2.LINE_AA, 4)


def tinted(picture: Picture, mask: npt.NDArray[np.bool_], colour: Colour, strength: float) -> Picture:
    """The picture with `mask` [H, W] tinted."""
    result = picture.astype(np.float32)
    result[mask] = (1 - strength) * result[mask] + strength * np.array(colour, np.float32)
    return np.asarray(result.round(), np.uint8)
