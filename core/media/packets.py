"""Reads what ffmpeg says about a file: its `framecrc` packet list and the description on its stderr. Starts nothing.

The packet list is machine-made and can't be forged by a file's metadata; what the description alone can tell
(rotation, the nominal frame rate) is taken from there and only ever describes the file itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

_NO_TIME = -(1 << 63)
_DISCARD = 0x4
_STREAM = re.compile(r"^  Stream #0:\d+(?:\[[^\]]*\])?(?:\([^)]*\))?: (Video|Audio): (\w+)(.*)$")
_CONTAINER = re.compile(r"^Input #0, (\S+), from ")
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")
_ROTATION = re.compile(r"^ +display ?matrix: rotation of (-?\d+(?:\.\d+)?) degrees", re.IGNORECASE)
_RATE = re.compile(r", (\d+(?:\.\d+)?)(k?) fps\b")


@dataclass
class Stream:
    """One stream of a packet list."""

    kind: str = ""
    """`video` or `audio`."""
    codec: str = ""
    time_base: Fraction = Fraction(1)
    width: int = 0
    height: int = 0
    sample_aspect: Fraction = Fraction(1)
    sample_rate: int = 0
    times: list[float] = field(default_factory=list)
    """Seconds at which packets are shown, in file order, without those that an edit list hides."""
    stop: float = float("-inf")
    """Seconds at which the last of them ends."""
    bytes: int = 0
    """Of all of them."""


def read_packets(listing: str) -> list[Stream]:
    """The streams of a `framecrc` listing, in the order of their numbers; empty where there are none."""
    streams: dict[int, Stream] = {}
    for line in listing.splitlines():
        if line.startswith("#"):
            _read_header(line, streams)
        elif line:
            _read_packet(line, streams)
    return [streams[number] for number in sorted(streams)]


def _read_header(line: str, streams: dict[int, Stream]) -> None:
    name, _, value = line[1:].partition(": ")
    key, _, number = name.partition(" ")
    if not number.isdigit():
        return
    stream = streams.setdefault(int(number), Stream())
    if key == "tb":
        stream.time_base = Fraction(value)
    elif key == "media_type":
        stream.kind = value
    elif key == "codec_id":
        stream.codec = value
    elif key == "dimensions":
        width, _, height = value.partition("x")
        stream.width, stream.height = int(width), int(height)
    elif key == "sar":
        over, _, under = value.partition("/")
        if int(over) > 0 and int(under) > 0:
            stream.sample_aspect = Fraction(int(over), int(under))
    elif key == "sample_rate":
        stream.sample_rate = int(value)


def _read_packet(line: str, streams: dict[int, Stream]) -> None:
    words = [word.strip() for word in line.split(",")]
    if len(words) < 6 or not words[0].isdigit():
        return
    stream = streams.setdefault(int(words[0]), Stream())
    for word in words[6:]:
        if word.startswith("F=") and int(word[2:], 16) & _DISCARD:
            return
    decoded, shown, length = int(words[1]), int(words[2]), int(words[3])
    if shown == _NO_TIME:
        shown = decoded
    if shown == _NO_TIME:
        return
    time = float(shown * stream.time_base)
    stream.times.append(time)
    stream.bytes += max(0, int(words[4]))
    stream.stop = max(stream.stop, time + float(max(0, length) * stream.time_base))


@dataclass(frozen=True)
class Description:
    """What ffmpeg prints about an input before it works on it."""

    container: str
    duration_s: float | None
    """What the header claims."""
    rotation: int
    """Degrees by which the picture must be turned counter-clockwise to be upright: 0, 90, 180, 270."""
    video_codec: str
    audio_codec: str
    fps: float | None


def read_description(stderr: str) -> Description:
    """Parse the first input's description out of ffmpeg's stderr."""
    container, duration, rotation, fps = "", None, 0, None
    codecs = {"Video": "", "Audio": ""}
    inside = False
    current = ""
    for line in stderr.splitlines():
        if match := _CONTAINER.match(line):
            container, inside = match[1].split(",")[0], True
        elif inside and line and not line.startswith(" "):
            break
        elif match := _DURATION.match(line):
            duration = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
        elif match := _STREAM.match(line):
            current = match[1]
            if not codecs[current]:
                codecs[current] = match[2]
                if current == "Video" and (rate := _RATE.search(match[3])):
                    fps = float(rate[1]) * (1000 if rate[2] else 1)
        elif current == "Video" and (match := _ROTATION.match(line)):
            rotation = round(float(match[1]) / 90) * 90 % 360
    return Description(container, duration, rotation, codecs["Video"], codecs["Audio"], fps)
