"""From any file with sound to mono samples on the shared time line, and whether there is a voice level in them.

Sample 0 is time 0 of the container's shared time line: a sound stream that starts later begins with silence, and gaps
between its time stamps are silence too. Must not know what is said.
"""

from __future__ import annotations

from pathlib import Path

import ffmpeg
import numpy as np
import numpy.typing as npt

from core.errors import InputRefusedError
from core.media import fence
from core.media.binary import COMMON, ffmpeg_path
from core.media.probe import MAX_SPEECH_SECONDS, input_name, input_options, probe_audio, refused_for_cost
from core.media.sniff import sniff

SPEECH_RATE_HZ = 16000
SILENCE_DBFS = -50.0
"""A tenth of a second whose RMS level is below this holds no speech; room noise of a fair recording lies lower."""
_WINDOW_S = 0.1
_LOUD_SECONDS = 0.5

Samples = npt.NDArray[np.float32]


def decode_audio(
    path: Path, *, rate: int = SPEECH_RATE_HZ, origin_s: float | None = None, seconds: float = MAX_SPEECH_SECONDS + 60
) -> Samples:
    """The first sound stream as float32 [n] mono, -1..1, at `rate` samples a second.

    Args:
        path: a video or audio file (wav, mp3, m4a, ogg, flac, aac).
        rate: samples a second.
        origin_s: the moment of the container's clock that is sample 0, such as `MediaInfo.origin_s`; None is the
            first sample, right for plain audio files.
        seconds: at most so many are given, counted from `origin_s`: a damaged time stamp can make an hour of silence.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: as `probe_audio`.
    """
    family = sniff(path)
    if origin_s is None:
        origin_s = probe_audio(path).audio_start_s
    source = ffmpeg.input(input_name(path), **input_options(family))["a:0"]
    source = source.filter("asettb", "1/1000000").filter("asetpts", f"PTS-{origin_s:.6f}/TB")
    source = source.filter("aresample", rate, **{"async": 1, "first_pts": 0, "ochl": "mono", "rematrix_maxval": 1})
    output = ffmpeg.output(source, "pipe:1", format="f32le", t=f"{seconds:.3f}")
    limits = fence.Limits(wall_s=120, cpu_s=120, memory_bytes=1 << 30)
    room = int((seconds + 1) * rate) * 4
    try:
        done = fence.run([ffmpeg_path(), *COMMON, "-copyts", *output.get_args()], limits, stdout_bytes=room)
    except fence.FenceError as error:
        raise refused_for_cost() from error
    if done.returncode != 0:
        raise InputRefusedError(
            "media_truncated", "The sound is damaged or cut short.", "Copy or export the file again."
        )
    samples = np.frombuffer(done.stdout, "<f4", count=len(done.stdout) // 4)
    if samples.size == 0:
        raise InputRefusedError("no_audio", "The sound stream holds no samples.", "Record it with a microphone.")
    # An hour of speech is 230 MB: one copy of it is enough.
    sane = np.nan_to_num(samples.astype(np.float32, copy=False), copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    np.clip(sane, -1.0, 1.0, out=sane)
    return np.asarray(sane, np.float32)


def loud_seconds(samples: Samples, rate: int = SPEECH_RATE_HZ) -> float:
    """How many seconds of `samples` [n] lie above `SILENCE_DBFS`, in steps of a tenth."""
    window = int(_WINDOW_S * rate)
    whole = samples[: samples.size // window * window].reshape(-1, window).astype(np.float64)
    level = np.sqrt((whole**2).mean(axis=1))
    return float((level > 10 ** (SILENCE_DBFS / 20)).sum() * _WINDOW_S)


def check_speech_level(samples: Samples, rate: int = SPEECH_RATE_HZ) -> None:
    """Refuse sound in which nearly nothing can be heard: less than half a second, or a fiftieth, above -50 dBFS.

    Raises:
        InputRefusedError: `audio_silent`.
    """
    needed = max(min(_LOUD_SECONDS, 0.5 * samples.size / rate), 0.02 * samples.size / rate)
    if loud_seconds(samples, rate) < needed:
        raise InputRefusedError(
            "audio_silent",
            f"The sound is silent: nearly all of it is below {SILENCE_DBFS:.0f} dBFS.",
            "Check the microphone, turn up its level, and record again.",
        )
