"""Single pictures from and to files. Knows PNG, JPEG and WebP by their first bytes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import InputRefusedError, UsageError

MAX_SIDE = 8192
_MAX_BYTES = 64 << 20
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as uint8 [height, width, 3] sRGB; transparency is dropped, the camera's rotation applied.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `image_refused`.
    """
    if not path.is_file():
        raise UsageError("file_not_found", "The picture file does not exist.", "Check the path.")
    data = path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    refused = InputRefusedError("image_refused", "The file is no picture that can be read.", "Give a PNG or JPEG.")
    if not data.startswith(_MAGIC) or (data.startswith(b"RIFF") and data[8:12] != b"WEBP"):
        raise refused
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise refused from error
    if picture is None or max(picture.shape[:2]) > MAX_SIDE:
        raise refused
    return np.asarray(picture, np.uint8)


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write uint8 [height, width, 3] sRGB, or [height, width] grey, as a PNG; the file appears whole or not at all."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", ordered)
    if not done:
        raise ValueError(f"can't encode {picture.dtype} {picture.shape}")
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data.tobytes())
    partial.replace(path)
