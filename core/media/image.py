"""Single pictures from and to files. Reads PNG, JPEG and WebP, in the fence, since a picture can be hostile too."""

from __future__ import annotations

from pathlib import Path

import cv2
import ffmpeg
import numpy as np
import numpy.typing as npt

from core.errors import InputRefusedError, UsageError
from core.media import fence
from core.media.binary import COMMON, ffmpeg_path
from core.media.probe import input_name

MAX_PIXELS = 50_000_000
_MAX_BYTES = 64 << 20
_DEMUXERS = ((b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"\xff\xd8\xff", "jpeg_pipe"), (b"RIFF", "webp_pipe"))


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as uint8 [height, width, 3] sRGB; transparency is dropped.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `image_refused`: no PNG, JPEG or WebP, damaged, or over 50 million pixels.
    """
    if not path.is_file():
        raise UsageError("file_not_found", "The picture file does not exist.", "Check the path.")
    with path.open("rb") as file:
        head = file.read(16)
    demuxer = next((name for magic, name in _DEMUXERS if head.startswith(magic)), None)
    if demuxer is None or (demuxer == "webp_pipe" and head[8:12] != b"WEBP") or path.stat().st_size > _MAX_BYTES:
        raise _refused()
    source = ffmpeg.input(
        input_name(path),
        format=demuxer,
        protocol_whitelist="file",
        codec_whitelist="png,mjpeg,webp",
        max_pixels=MAX_PIXELS,
        threads=1,
    )
    output = ffmpeg.output(source, "pipe:1", format="image2pipe", vcodec="ppm", pix_fmt="rgb24", **{"frames:v": 1})
    limits = fence.Limits(wall_s=30, cpu_s=30)
    try:
        done = fence.run([ffmpeg_path(), *COMMON, *output.get_args()], limits, stdout_bytes=4 * MAX_PIXELS)
    except fence.FenceError as error:
        raise _refused() from error
    words = done.stdout[:64].split(None, 4)
    if done.returncode != 0 or len(words) < 4 or words[0] != b"P6":
        raise _refused()
    width, height = int(words[1]), int(words[2])
    pixels = np.frombuffer(done.stdout, np.uint8, offset=len(done.stdout) - width * height * 3)
    return pixels.reshape(height, width, 3).copy()


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write uint8 [height, width, 3] sRGB, or [height, width] grey, as a PNG; the file appears whole or not at all."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", ordered)
    if not done:
        raise ValueError(f"can't encode {picture.dtype} {picture.shape}")
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data.tobytes())
    partial.replace(path)


def _refused() -> InputRefusedError:
    return InputRefusedError("image_refused", "The file is no picture that can be read.", "Give a PNG, JPEG or WebP.")
