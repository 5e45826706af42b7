"""What stands behind the head: the recorded backdrop, or one of the user's choice seen through the matte.

Knows pictures only: no avatar, no video files.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import UsageError
from core.media.image import read_image

_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})")
_NAMED = {"white": "ffffff", "black": "000000", "green": "00b140", "blue": "0047bb", "grey": "808080"}


def load_background(choice: str, size: int) -> npt.NDArray[np.uint8]:
    """The chosen background as a picture.

    Args:
        choice: a colour (`#rrggbb`, or white, black, green, blue, grey) or the path of a PNG or JPEG picture, which is
            scaled and cropped at its centre to fill the frame.
        size: side of the frame in pixels.

    Returns:
        [size, size, 3] sRGB.

    Raises:
        UsageError: `background_unknown`: neither a colour nor a file.
        InputRefusedError: `image_refused`: a file that is no picture, or too large.
    """
    match = _COLOUR.fullmatch(_NAMED.get(choice.lower(), choice))
    if match is not None:
        colour = np.frombuffer(bytes.fromhex(match[1]), np.uint8)
        return np.broadcast_to(colour, (size, size, 3)).copy()
    path = Path(choice)
    if not path.is_file():
        raise UsageError(
            "background_unknown",
            "The background is neither a colour nor a picture file.",
            "Write a colour as #rrggbb, or give the path of a PNG or JPEG picture.",
        )
    return _fill(read_image(path), size)


def _fill(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    smaller = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=smaller), np.uint8)


def replace_background(
    backdrop: npt.NDArray[np.uint8], matte: npt.NDArray[np.uint8], background: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """The person's torso over another background; the head is synthesised over the result.

    Args:
        backdrop: [S, S, 3] the recorded torso over the recorded background.
        matte: [S, S] 0..255, how much of the pixel is the person.
        background: [S, S, 3].

    Returns:
        [S, S, 3] matte * backdrop + (1 - matte) * background.
    """
    weight = cv2.merge([matte.astype(np.float32) / 255] * 3)
    mixed = background + weight * (backdrop.astype(np.float32) - background)
    return np.asarray(mixed + 0.5).astype(np.uint8)


def resize_square(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """`picture` ([S, S] or [S, S, 3]) at another size; itself where it has that size already."""
    if picture.shape[0] == size:
        return picture
    smaller = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size, size), interpolation=smaller), np.uint8)
