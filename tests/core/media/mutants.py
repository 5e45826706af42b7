"""Small films of many formats, and ways to damage them: what `fuzz` reads. Knows containers' field names, no parser.

Everything follows from a seed, so a file that makes trouble can be made again from its number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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
_EXACT: dict[str, tuple[tuple[bytes, int, int], ...]] = {
    "mp4": ((b"mvhd", 16, 4), (b"mvhd", 20, 4), (b"mdhd", 16, 4), (b"mdhd", 20, 4), (b"tkhd", 24, 4), (b"tkhd", 80, 4),
            (b"tkhd", 84, 4), (b"tkhd", 44, 4), (b"avc1", 28, 2), (b"avc1", 30, 2), (b"mp4v", 28, 2), (b"mp4a", 20, 2),
            (b"mp4a", 28, 4), (b"stts", 8, 4), (b"stts", 12, 4), (b"stts", 16, 4), (b"stsz", 8, 4), (b"stsz", 12, 4),
            (b"stsz", 16, 4), (b"stsc", 12, 4), (b"stsc", 16, 4), (b"stco", 8, 4), (b"stco", 12, 4), (b"elst", 8, 4),
            (b"elst", 12, 4), (b"elst", 16, 4), (b"ctts", 12, 4), (b"ctts", 16, 4), (b"trun", 8, 4), (b"trun", 16, 4),
            (b"tfdt", 8, 4), (b"moov", -4, 4), (b"trak", -4, 4), (b"mdat", -4, 4), (b"stsd", 8, 4), (b"jpeg", 28, 2)),
    "webm": ((b"\x44\x89", 3, 4), (b"\xb0\x81", 2, 1), (b"\xb0", 1, 3), (b"\xba", 1, 3), (b"\xb5\x88", 2, 4),
             (b"\x2a\xd7\xb1", 4, 3), (b"\x23\xe3\x83", 4, 4), (b"\x1f\x43\xb6\x75", 4, 4), (b"\xe7", 1, 3),
             (b"\xa3", 1, 4), (b"\x9f\x81", 2, 1), (b"\x62\x64", 3, 1), (b"\x18\x53\x80\x67", 4, 4)),
    "avi": ((b"avih", 8, 4), (b"avih", 24, 4), (b"avih", 32, 4), (b"avih", 40, 4), (b"avih", 44, 4), (b"strh", 28, 4),
            (b"strh", 32, 4), (b"strh", 36, 4), (b"strh", 40, 4), (b"strh", 52, 4), (b"strf", 4, 4), (b"strf", 12, 4),
            (b"strf", 16, 4), (b"strf", 10, 2), (b"strf", 20, 4), (b"RIFF", 4, 4), (b"LIST", 4, 4), (b"00dc", 4, 4)),
    "ts": ((b"\x00\x00\x01\xe0", 9, 4), (b"\x00\x00\x01\xe0", 10, 3), (b"\x00\x00\x01\xc0", 9, 4),
           (b"\x00\x00\x01\xe0", 4, 2), (b"\x00\x00\x01\xb3", 4, 3), (b"\x00\x00\x01\x67", 4, 4)),
}  # fmt: skip
"""Fields themselves: what stands before them, how far on from its start they lie, and their bytes. Time scales,
lengths, widths, heights, channels, sample rates, counts, offsets, matrix entries."""
_EXACT["mov"], _EXACT["mkv"] = _EXACT["mp4"], _EXACT["webm"]
_EXTREMES = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x01",
    b"\xff\xff\xff\x7f",
    b"\x00\x01\x00\x00",
    b"\x00\x01\x86\xa0",
    b"\x75\x30\x75\x30",
    b"\x0f\xff\x0f\xff",
)
_FIELD_REACH = 40

Generator = np.random.Generator
Choice = TypeVar("Choice")


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
    """Somewhere near the container's own fields, numbers that no film has."""
    for _ in range(int(generator.integers(1, 4))):
        start = _one_of(data, generator, list(_FIELDS[container]), lambda tag: tag)
        if start is not None:
            _overwrite(data, generator, start[1] - 4 + int(generator.integers(_FIELD_REACH)), 4)


def _extreme_named_fields(data: bytearray, generator: Generator, container: str) -> None:
    """Lengths, sizes, rates, counts and times set to what no film has, and nothing else touched."""
    for _ in range(int(generator.integers(1, 3))):
        found = _one_of(data, generator, list(_EXACT[container]), lambda field: field[0])
        if found is not None:
            (_, offset, length), start = found
            _overwrite(data, generator, start + offset, length)


def _one_of(
    data: bytearray, generator: Generator, choices: list[Choice], tag_of: Callable[[Choice], bytes]
) -> tuple[Choice, int] | None:
    """One of the choices whose tag is in the data, and one of the places where it is."""
    present = [choice for choice in choices if tag_of(choice) in data]
    if not present:
        return None
    choice = present[int(generator.integers(len(present)))]
    places: list[int] = []
    place = data.find(tag_of(choice))
    while place >= 0 and len(places) < 50:
        places.append(place)
        place = data.find(tag_of(choice), place + 1)
    return choice, places[int(generator.integers(len(places)))]


def _overwrite(data: bytearray, generator: Generator, start: int, length: int) -> None:
    start = min(max(0, start), len(data) - length)
    value = _EXTREMES[int(generator.integers(len(_EXTREMES)))]
    data[start : start + length] = value[:length]


def _large_numbers(data: bytearray, generator: Generator, container: str) -> None:
    for place in generator.integers(30, len(data) - 4, 12):
        data[place : place + 4] = b"\xff\xff\xff\xff"


Damage = Callable[[bytearray, Generator, str], None]
DAMAGES: tuple[Damage, ...] = (
    _extreme_named_fields, _cut, _flipped_header, _extreme_fields, _flipped_everywhere, _extreme_named_fields,
    _swapped_bytes, _doubled_chunk, _lost_chunk, _extreme_named_fields, _exchanged_chunks, _large_numbers,
)  # fmt: skip
"""Named fields set to extremes come three times: they leave the most of the film to be believed."""
