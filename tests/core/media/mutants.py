"""Small films of many formats, and ways to damage them: what `fuzz` reads. Knows containers' field names, no parser.

Everything follows from a seed, so a file that makes trouble can be made again from its number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .conftest import Maker

_FRAMES = 80
FORMATS: dict[str, tuple[str, ...]] = {
    "h264.mp4": ("-g", "25"),
    "h264-front.mp4": ("-g", "25", "-bf", "0", "-movflags", "+faststart"),
    "h264-fragments.mp4": ("-g", "25", "-movflags", "+frag_keyframe+empty_moov"),
    "mpeg4.mp4": ("-c:v", "mpeg4", "-q:v", "4"),
    "mjpeg.mov": ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-c:a", "libopus"),
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "300k", "-c:a", "libvorbis"),
    "h264.mkv": ("-g", "25", "-c:a", "flac"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "4", "-c:a", "libmp3lame"),
    "h264.ts": ("-g", "25"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-q:v", "4", "-c:a", "mp2"),
}
"""Name of a film, and how it is encoded; the name's end chooses the container."""
_FIELDS = {
    "mp4": (b"mvhd", b"tkhd", b"mdhd", b"stsd", b"avc1", b"mp4v", b"mp4a", b"stts", b"ctts", b"stsz", b"stsc", b"stco",
            b"stss", b"elst", b"avcC", b"esds", b"ftyp", b"moov", b"trak", b"mdat", b"trex", b"tfhd", b"trun", b"tfdt"),
    "mov": (b"mvhd", b"tkhd", b"mdhd", b"stsd", b"jpeg", b"sowt", b"stts", b"stsz", b"stsc", b"stco", b"elst", b"moov"),
    "webm": (b"\x44\x89", b"\xb0\x82", b"\xba\x81", b"\xb5\x88", b"\x2a\xd7\xb1", b"\x23\xe3\x83", b"\x1f\x43\xb6\x75",
             b"\xe7", b"\xa3", b"\x1c\x53\xbb\x6b", b"\x16\x54\xae\x6b", b"\x86", b"\x63\xa2", b"\x53\x6e"),
    "avi": (b"avih", b"strh", b"strf", b"idx1", b"LIST", b"RIFF", b"JUNK", b"00dc", b"01wb", b"vids", b"auds"),
    "ts": (b"G", b"\x00\x00\x01\xe0", b"\x00\x00\x01\xc0", b"\x00\x00\x00\x01\x67", b"\x00\x00\x01\xb3"),
}  # fmt: skip
"""By the name's end: what stands before fields of length, size, rate and time in that container."""
_FIELDS["mkv"] = _FIELDS["webm"]
_EXTREMES = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x01",
    b"\xff\xff\xff\x7f",
    b"\x00\x01\x00\x00",
)
_FIELD_REACH = 40

Generator = np.random.Generator


def whole_films(folder: Path) -> dict[str, bytes]:
    """One undamaged film of each format: 3.2 s of numbered pictures, 192 x 128, with ten clicks a second."""
    maker, clicks = Maker(folder), tuple(k / 10 for k in range(1, 31))
    return {
        name: maker.video(name, *words, frames=_FRAMES, click_at=clicks).read_bytes() for name, words in FORMATS.items()
    }


def mutant(films: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Name and bytes of damaged film `number` of the run `seed`: formats and kinds of damage take turns."""
    names = sorted(films)
    name = names[number % len(names)]
    generator = np.random.default_rng([seed, number])
    kind = number // len(names) % len(DAMAGES)
    data = bytearray(films[name])
    DAMAGES[kind](data, generator, name.rsplit(".", 1)[1])
    return f"{number:04d}-{DAMAGES[kind].__name__[1:]}-{name}", bytes(data)


def _cut(data: bytearray, generator: Generator, container: str) -> None:
    del data[int(generator.integers(len(data))) :]


def _flipped_header(data: bytearray, generator: Generator, container: str) -> None:
    for place in generator.integers(0, min(len(data), 2000), 12):
        data[place] ^= 1 << int(generator.integers(8))


def _flipped_everywhere(data: bytearray, generator: Generator, container: str) -> None:
    for place in generator.integers(0, len(data), max(4, len(data) // 200)):
        data[place] = int(generator.integers(256))


def _swapped_bytes(data: bytearray, generator: Generator, container: str) -> None:
    for place in generator.integers(0, min(len(data), 3000) - 8, 6):
        data[place : place + 4] = data[place : place + 4][::-1]


def _doubled_chunk(data: bytearray, generator: Generator, container: str) -> None:
    place, length = int(generator.integers(len(data))), int(generator.integers(1, len(data) // 3))
    data[place:place] = data[place : place + length]


def _lost_chunk(data: bytearray, generator: Generator, container: str) -> None:
    place, length = int(generator.integers(len(data))), int(generator.integers(1, len(data) // 3))
    del data[place : place + length]


def _exchanged_chunks(data: bytearray, generator: Generator, container: str) -> None:
    a, b = sorted(int(place) for place in generator.integers(0, len(data) - 300, 2))
    data[a : a + 300], data[b : b + 300] = data[b : b + 300], data[a : a + 300]


def _extreme_fields(data: bytearray, generator: Generator, container: str) -> None:
    """Lengths, sizes, rates, counts and times of the container set to what no film has."""
    present = [tag for tag in _FIELDS[container] if tag in data]
    for _ in range(int(generator.integers(1, 4))):
        tag = present[int(generator.integers(len(present)))]
        found = []
        place = data.find(tag)
        while place >= 0 and len(found) < 50:
            found.append(place)
            place = data.find(tag, place + 1)
        start = found[int(generator.integers(len(found)))] - 4 + int(generator.integers(_FIELD_REACH))
        start = min(max(0, start), len(data) - 4)
        data[start : start + 4] = _EXTREMES[int(generator.integers(len(_EXTREMES)))]


def _large_numbers(data: bytearray, generator: Generator, container: str) -> None:
    for place in generator.integers(30, len(data) - 4, 12):
        data[place : place + 4] = b"\xff\xff\xff\xff"


Damage = Callable[[bytearray, Generator, str], None]
DAMAGES: tuple[Damage, ...] = (
    _extreme_fields, _cut, _flipped_header, _extreme_fields, _flipped_everywhere, _swapped_bytes, _doubled_chunk,
    _lost_chunk, _exchanged_chunks, _large_numbers,
)  # fmt: skip
"""Fields set to extremes come twice: they find the most."""
