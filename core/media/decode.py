"""From a video file to pictures on the 25 fps time line, streamed: memory does not grow with the clip's length.

Frame f is the picture that the video shows at f / 25 s, where 0 s is the start of whichever stream starts first; a
video that starts late repeats its first picture until then. Works by time stamp, never by counting pictures. Must not
know what is in the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import ffmpeg
import numpy as np
import numpy.typing as npt

from core.errors import InputRefusedError, UsageError
from core.media import fence
from core.media.binary import COMMON, ffmpeg_path
from core.media.probe import FPS, MediaInfo, input_name, input_options, refused_for_cost
from core.media.sniff import sniff

Frame = npt.NDArray[np.uint8]
_Steps = Callable[[ffmpeg.nodes.FilterableStream], ffmpeg.nodes.FilterableStream]

_EARLY_S = 0.002
"""A picture due at f / 25 s may be stamped this much late (containers round to milliseconds) and is still frame f."""
_SEEK_MARGIN_S = 1.0
_MAY_MISS = 2
_LIMITS = fence.Limits(wall_s=600, cpu_s=1200, memory_bytes=3 << 30)


def decode_frames(
    path: Path,
    info: MediaInfo,
    *,
    crop: tuple[int, int, int] | None,
    size: int,
    start_frame: int = 0,
    count: int | None = None,
    fps: int = FPS,
) -> Generator[Frame, None, None]:
    """Square pictures of one region, frame by frame.

    Args:
        path: the video.
        info: what `probe` said about it.
        crop: left, top, side in pixels of the upright picture (`info.width` x `info.height`); it may reach over the
            border, where the nearest border pixel is repeated. None takes the largest centred square.
        size: side of the result in pixels; scaled by area averaging downwards, by Lanczos upwards.
        start_frame: first frame wanted, on the time line.
        count: number of frames; None goes to the end.
        fps: the time line's rate; everything in this project uses 25.

    Yields:
        uint8 [size, size, 3] sRGB, each a fresh array. Closing the iterator ends ffmpeg.

    Raises:
        InputRefusedError: `media_truncated`, if pictures run out before the time line ends.
        UsageError: `frame_out_of_range`, `crop_out_of_picture`.
    """
    if crop is None:
        side = min(info.width, info.height)
        crop = ((info.width - side) // 2, (info.height - side) // 2, side)
    box = _Box.inside(crop, info)
    shape = (box.height, box.width)
    for picture in _stream(path, info, lambda source: box.cut(source, info), shape, start_frame, count, fps):
        yield box.finish(picture, size)


def decode_frames_full(
    path: Path,
    info: MediaInfo,
    max_side: int,
    *,
    start_frame: int = 0,
    count: int | None = None,
    fps: int = FPS,
) -> Generator[Frame, None, None]:
    """Whole upright pictures, scaled down (never up) so that the longer side is at most `max_side`.

    Yields uint8 [height, width, 3] sRGB of `scaled_size(info, max_side)`. Errors as `decode_frames`.
    """
    width, height = scaled_size(info, max_side)
    steps = _shrinking(width, height)
    yield from _stream(path, info, steps, (height, width), start_frame, count, fps)


def decode_chosen(path: Path, info: MediaInfo, max_side: int, frames: Sequence[int]) -> Generator[Frame, None, None]:
    """As `decode_frames_full`, of some frames only: those between them are decoded, but neither scaled nor converted.

    Args:
        path: the video.
        info: what `probe` said about it.
        max_side: as for `decode_frames_full`.
        frames: numbers on the 25 fps time line, rising.
    """
    width, height = scaled_size(info, max_side)
    shrink = _shrinking(width, height)
    start = frames[0]
    wanted = "+".join(f"eq(n,{number - start})" for number in frames)

    def choose(source: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
        return shrink(source.filter("select", wanted))

    if frames[-1] >= info.frame_count:
        raise _out_of_range(info.frame_count)
    yield from _stream(path, info, choose, (height, width), start, len(frames), FPS)


def _shrinking(width: int, height: int) -> _Steps:
    def shrink(source: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
        small = source.filter("scale", width, height, flags="area+accurate_rnd+full_chroma_int")
        return small.filter("format", "rgb24")

    return shrink


def scaled_size(info: MediaInfo, max_side: int) -> tuple[int, int]:
    """Width and height that `decode_frames_full` gives; both at least 2."""
    factor = min(1.0, max_side / max(info.width, info.height))
    return max(2, round(info.width * factor)), max(2, round(info.height * factor))


@dataclass(frozen=True)
class _Box:
    """The part of a crop box that lies inside the picture, and the borders that are repeated around it."""

    left: int
    top: int
    width: int
    height: int
    borders: tuple[int, int, int, int]
    """Rows above and below, columns left and right."""

    @staticmethod
    def inside(crop: tuple[int, int, int], info: MediaInfo) -> _Box:
        left, top, side = crop
        right, bottom = left + side, top + side
        x0, y0, x1, y1 = max(0, left), max(0, top), min(info.width, right), min(info.height, bottom)
        if side < 1 or x1 <= x0 or y1 <= y0:
            raise UsageError("crop_out_of_picture", f"The crop {crop} lies outside the picture.", "Choose another box.")
        return _Box(x0, y0, x1 - x0, y1 - y0, (y0 - top, bottom - y1, x0 - left, right - x1))

    def cut(self, picture: ffmpeg.nodes.FilterableStream, info: MediaInfo) -> ffmpeg.nodes.FilterableStream:
        """Cut this box out. Chroma-subsampled pictures can be cut at even places only: so twice, with RGB between."""
        left, top = self.left // 2 * 2, self.top // 2 * 2
        width = min(info.width, -(-(self.left + self.width) // 2) * 2) - left
        height = min(info.height, -(-(self.top + self.height) // 2) * 2) - top
        # Exact, or the last row and column of a picture of odd size would be rounded away.
        coarse = picture.filter("crop", width, height, left, top, exact=1)
        return _as_rgb(coarse).filter("crop", self.width, self.height, self.left - left, self.top - top)

    def finish(self, picture: Frame, size: int) -> Frame:
        """Repeat the borders and scale to `size`."""
        if any(self.borders):
            picture = np.asarray(cv2.copyMakeBorder(picture, *self.borders, cv2.BORDER_REPLICATE), np.uint8)
        side = picture.shape[0]
        if side == size:
            return picture
        how = cv2.INTER_AREA if side > size else cv2.INTER_LANCZOS4
        return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def _as_rgb(picture: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
    return picture.filter("scale", flags="bicubic+accurate_rnd+full_chroma_int").filter("format", "rgb24")


def _stream(
    path: Path,
    info: MediaInfo,
    steps: _Steps,
    shape: tuple[int, int],
    start_frame: int,
    count: int | None,
    fps: int,
) -> Generator[Frame, None, None]:
    """Pictures [height, width, 3] of `shape`, after `steps`, of exactly the frames asked for."""
    available = max(1, round(info.frame_count * fps / FPS))
    wanted = available - start_frame if count is None else count
    if start_frame < 0 or wanted < 0 or start_frame + wanted > available:
        raise _out_of_range(available)
    if wanted == 0:
        return
    command = _command(path, info, steps, start_frame / fps, wanted, fps)
    last: Frame | None = None
    with fence.started(command, _LIMITS) as process:
        try:
            for number in range(wanted):
                picture = np.empty((*shape, 3), np.uint8)
                got = process.read_into(picture.data.cast("B"))
                if got < picture.nbytes:
                    if process.finish() != 0 or last is None or wanted - number > _MAY_MISS:
                        raise _ran_out(number, wanted)
                    picture = last.copy()
                last = picture
                yield picture
        except fence.FenceError as error:
            raise refused_for_cost() from error


def _command(
    path: Path,
    info: MediaInfo,
    steps: _Steps,
    start_s: float,
    count: int,
    fps: int,
) -> list[str]:
    family = sniff(path)
    options = input_options(family)
    if family.seeks_exactly and start_s > 2 * _SEEK_MARGIN_S:
        options["ss"] = f"{info.origin_s + start_s - _SEEK_MARGIN_S:.6f}"
    source = ffmpeg.input(input_name(path), **options)["V:0"]
    # First to one size, which costs nothing where it is so already: a video may change its size on the way.
    source = source.filter("scale", info.width, info.height, flags="bicubic+accurate_rnd").filter("setsar", "1")
    source = source.filter("settb", "1/1000000").filter("setpts", f"PTS-{info.origin_s + _EARLY_S:.6f}/TB")
    source = source.filter("fps", fps=fps, round="up", start_time=f"{start_s:.6f}")
    output = ffmpeg.output(
        steps(source), "pipe:1", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough", **{"frames:v": count}
    )
    arguments: list[str] = output.get_args()
    return [ffmpeg_path(), *COMMON, "-copyts", "-noaccurate_seek", "-reinit_filter", "0", *arguments]


def _out_of_range(available: int) -> UsageError:
    return UsageError(
        "frame_out_of_range", f"The video has frames 0 to {available - 1}.", "Ask for frames that are there."
    )


def _ran_out(number: int, wanted: int) -> InputRefusedError:
    return InputRefusedError(
        "media_truncated",
        f"The file is damaged or cut short. Its pictures end after {number} of {wanted} frames.",
        "Copy or export the file again; it must play to its end.",
    )
