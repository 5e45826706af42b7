"""What a media file holds, found out without trusting it, and refused with a code and a hint where we can't use it.

ffmpeg lists the packets of the first picture and sound stream (nothing is decoded), then decodes the first picture and
the first sound: so start times, lengths and sizes are facts and not what a header claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from core.errors import InputRefusedError, LikenessError
from core.media import fence
from core.media.binary import COMMON, ffmpeg_path
from core.media.packets import Description, Stream, read_description, read_packets
from core.media.sniff import Family, sniff

FPS = 25
MAX_SIDE = 4096
MAX_PIXELS = 4096 * 2304
MAX_SECONDS = 600.0
"""Of a video. A speech may be as long as `MAX_SPEECH_SECONDS`."""
MAX_SPEECH_SECONDS = 3600.0
_VIDEO_DECODERS = (
    "h264,hevc,libdav1d,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mpeg2video,mpeg1video,mjpeg,prores,dvvideo,h263"
)
_AUDIO_DECODERS = (
    "aac,aac_latm,mp3float,mp3,mp2float,mp2,opus,libopus,vorbis,libvorbis,flac,alac,ac3,eac3,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f64le,pcm_u8,pcm_s8,pcm_alaw,pcm_mulaw"
)
_HINT_CONVERT = "Convert it to MP4 (H.264 video, AAC audio) and try again."
_HINT_COPY = "Copy or export the file again; it must play to its end."
_CUT_OFF = ("moov atom not found", "partial file", "File ended prematurely", "Truncat", "truncat")
_PIXELS = "exceeds specified max pixel count"
_SLACK_S = 0.5
_MAX_LISTING = 16 << 20
"""Bytes of packet list: 250,000 packets, four times what ten minutes at 60 frames a second have."""


@dataclass(frozen=True)
class MediaInfo:
    """A video file that we can use. Times are in seconds of the container's own clock unless said otherwise."""

    container: str
    """`mp4`, `matroska`, `avi` or `mpegts`."""
    duration_s: float
    """From time 0 of the shared time line to the end of the last picture."""
    width: int
    """Of the upright picture with square pixels."""
    height: int
    fps: float
    """Nominal: the mean rate of its pictures."""
    rotation: int
    """Degrees counter-clockwise that bring the stored picture upright: 0, 90, 180, 270. Decoding applies it."""
    video_codec: str
    has_audio: bool
    audio_codec: str | None
    sample_rate: int | None
    video_start_s: float
    """When the first picture is shown."""
    audio_start_s: float | None
    """When the first sample is heard."""
    variable_frame_rate: bool
    """Best effort: the distances of its pictures differ by more than rounding."""
    video_kbps: float = 0.0
    """Kilobits of picture a second, in the mean."""

    @property
    def origin_s(self) -> float:
        """Time 0 of the shared time line: the start of whichever stream starts first."""
        return self.video_start_s if self.audio_start_s is None else min(self.video_start_s, self.audio_start_s)

    @property
    def frame_count(self) -> int:
        """Number of frames of the 25 fps time line: those f for which a picture is shown at f / 25 s."""
        return max(1, math.ceil(self.duration_s * FPS - 0.05))


@dataclass(frozen=True)
class AudioInfo:
    """The first sound stream of a file."""

    container: str
    duration_s: float
    """From `audio_start_s` to the end of the last packet."""
    audio_codec: str
    sample_rate: int
    audio_start_s: float


def input_options(family: Family) -> dict[str, str]:
    """The ffmpeg options that open a file with every guard on: one demuxer, files only, known decoders, few pixels."""
    return {
        "protocol_whitelist": "file",
        "format_whitelist": family.demuxer,
        "codec_whitelist": f"{_VIDEO_DECODERS},{_AUDIO_DECODERS}",
        "max_pixels": str(MAX_PIXELS),
        "threads": "2",
    }


def input_name(path: Path) -> str:
    """`path` as an ffmpeg input that can't be mistaken for an option or another protocol."""
    return f"file:{path.resolve()}"


def _input_words(path: Path, family: Family) -> list[str]:
    options = [word for key, value in input_options(family).items() for word in (f"-{key}", value)]
    return [*options, "-i", input_name(path)]


def probe(path: Path) -> MediaInfo:
    """Look into the video file `path`. Needs picture and sound both; see `probe_audio` for sound alone.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `media_empty`, `not_a_video`, `media_format_refused`, `media_truncated`, `media_too_large`,
            `no_video`, `no_audio`.
    """
    info = probe_picture(path)
    if not info.has_audio:
        raise InputRefusedError(
            "no_audio",
            "The video has no sound.",
            "Record it with a microphone: the head learns from the voice.",
        )
    return info


def probe_picture(path: Path) -> MediaInfo:
    """As `probe`, but a video without sound will do."""
    family = sniff(path)
    if not family.may_hold_video:
        raise _no_video()
    streams, told = _list_packets(path, family)
    video = next((stream for stream in streams if stream.kind == "video"), None)
    audio = next((stream for stream in streams if stream.kind == "audio"), None)
    if video is None:
        raise _no_video()
    _check_size(video)
    if not video.times:
        raise _truncated("It has a picture stream without a picture.")
    video_start = _first_shown(path, family, "V:0")
    audio_start = None if audio is None or not audio.times else _first_shown(path, family, "a:0")
    origin = video_start if audio_start is None else min(video_start, audio_start)
    times = sorted(video.times)
    gap = _median([after - before for before, after in pairwise(times)]) or 1 / FPS
    duration = max(video.stop, times[-1] + gap) - origin
    _check_length(duration, told, streams, origin)
    width, height = _upright_size(video, told.rotation)
    return MediaInfo(
        container=family.name,
        duration_s=duration,
        width=width,
        height=height,
        fps=_rate(times, gap) or told.fps or float(FPS),
        rotation=told.rotation,
        video_codec=video.codec,
        has_audio=audio_start is not None,
        audio_codec=audio.codec if audio is not None and audio_start is not None else None,
        sample_rate=audio.sample_rate if audio is not None and audio_start is not None else None,
        video_start_s=video_start,
        audio_start_s=audio_start,
        variable_frame_rate=_is_variable(times, gap),
        video_kbps=round(video.bytes * 8e-3 / max(duration, gap), 1),
    )


def probe_audio(path: Path) -> AudioInfo:
    """Look at the first sound stream of an audio or video file.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: as `probe`, with `no_audio` where there is no sound stream.
    """
    family = sniff(path)
    streams, told = _list_packets(path, family)
    audio = next((stream for stream in streams if stream.kind == "audio"), None)
    if audio is None or not audio.times:
        raise InputRefusedError("no_audio", "The file has no sound.", "Give a file with a voice in it.")
    start = _first_shown(path, family, "a:0")
    _check_length(audio.stop - start, told, streams, start, MAX_SPEECH_SECONDS)
    return AudioInfo(family.name, audio.stop - start, audio.codec, audio.sample_rate, start)


def _list_packets(path: Path, family: Family) -> tuple[list[Stream], Description]:
    words = ["-map", "0:V:0?", "-map", "0:a:0?", "-c", "copy", "-copyinkf", "-f", "framecrc", "pipe:1"]
    limits = fence.Limits(wall_s=60, cpu_s=30, memory_bytes=1 << 30)
    command = [ffmpeg_path(), *COMMON, "-copyts", *_input_words(path, family), *words]
    try:
        done = fence.run(command, limits, stdout_bytes=_MAX_LISTING)
    except fence.FenceError as error:
        raise refused_for_cost() from error
    told = read_description(done.stderr)
    if "Format not on whitelist" in done.stderr or (done.returncode != 0 and "not on whitelist" in done.stderr):
        raise InputRefusedError("media_format_refused", "The file holds a format that is not read here.", _HINT_CONVERT)
    streams = read_packets(done.stdout.decode("ascii", "replace"))
    if done.returncode < 0:
        raise refused_for_cost()
    if _PIXELS in done.stderr:
        raise _too_large("Its pictures have too many pixels.")
    if any(sign in done.stderr for sign in _CUT_OFF):
        raise _truncated("Its end is missing.")
    if done.returncode != 0 and "does not contain any stream" not in done.stderr:
        raise _truncated("It can't be read.")
    return streams, told


def _first_shown(path: Path, family: Family, stream: str) -> float:
    """Seconds, on the container's clock, of the first picture or sample that comes out of the decoder."""
    words = ["-map", f"0:{stream}", "-frames", "1", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
    limits = fence.Limits(wall_s=60, cpu_s=60, memory_bytes=2 << 30)
    command = [ffmpeg_path(), *COMMON, "-copyts", *_input_words(path, family), *words, "-f", "framecrc", "pipe:1"]
    try:
        done = fence.run(command, limits)
    except fence.FenceError as error:
        raise refused_for_cost() from error
    if done.returncode != 0 and "not on whitelist" in done.stderr:
        raise InputRefusedError("media_format_refused", "The file holds a codec that is not read here.", _HINT_CONVERT)
    if _PIXELS in done.stderr:
        raise _too_large("Its pictures have too many pixels.")
    streams = read_packets(done.stdout.decode("ascii", "replace"))
    if done.returncode != 0 or not streams or not streams[0].times:
        raise _truncated("Nothing in it can be decoded.")
    return streams[0].times[0]


def _check_size(video: Stream) -> None:
    if max(video.width, video.height) > MAX_SIDE or video.width * video.height > MAX_PIXELS:
        raise _too_large(f"Its pictures have {video.width}x{video.height} pixels.")
    if min(video.width, video.height) < 1:
        raise _truncated("Its picture size is unknown.")


def _check_length(
    duration: float, told: Description, streams: list[Stream], origin: float, most: float = MAX_SECONDS
) -> None:
    if duration > most:
        raise InputRefusedError(
            "media_too_large",
            f"It is {duration / 60:.1f} minutes long; {most / 60:.0f} minutes is the most.",
            "Cut out the part you need.",
        )
    reached = max(stream.stop for stream in streams) - origin
    if told.duration_s is not None and told.duration_s > reached + max(_SLACK_S, 0.02 * told.duration_s):
        raise _truncated(f"It says it lasts {told.duration_s:.1f} s but ends after {reached:.1f} s.")


def _upright_size(video: Stream, rotation: int) -> tuple[int, int]:
    aspect = float(video.sample_aspect)
    if not 0.2 < aspect < 5 or video.width * aspect > 2 * MAX_SIDE:
        aspect = 1.0
    width, height = max(1, round(video.width * aspect)), video.height
    return (height, width) if rotation in (90, 270) else (width, height)


def _median(values: list[float]) -> float:
    positive = sorted(value for value in values if value > 0)
    return positive[len(positive) // 2] if positive else 0.0


def _rate(times: list[float], gap: float) -> float:
    """Pictures a second: the mean over the gaps that look like the median one (containers round time stamps)."""
    usual = [after - before for before, after in pairwise(times) if 0.5 * gap < after - before < 1.5 * gap]
    return round(len(usual) / sum(usual), 3) if usual else 0.0


def _is_variable(times: list[float], gap: float) -> bool:
    odd = sum(abs(after - before - gap) > 0.2 * gap + 0.0015 for before, after in pairwise(times))
    return odd > 0.02 * len(times)


def refused_for_cost() -> LikenessError:
    """The error for a file that costs more time or memory than its kind may."""
    return InputRefusedError("media_too_costly", "Reading the file takes too much time or memory.", _HINT_CONVERT)


def _too_large(message: str) -> InputRefusedError:
    return InputRefusedError(
        "media_too_large",
        f"{message} The most is {MAX_SIDE} a side and 9.4 million in all.",
        "Scale it down; 1920x1080 is plenty.",
    )


def _truncated(message: str) -> InputRefusedError:
    return InputRefusedError("media_truncated", f"The file is damaged or cut short. {message}", _HINT_COPY)


def _no_video() -> InputRefusedError:
    return InputRefusedError("no_video", "The file has no moving picture.", "Give a video of the person speaking.")
