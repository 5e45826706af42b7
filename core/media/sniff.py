"""What a file is by its first bytes, decided before ffmpeg may see it. Reads 4 KiB; knows no codecs.

The answer names the one demuxer that ffmpeg may then use, so a playlist or script under a false name never reaches
the code that would follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import InputRefusedError, UsageError

MAX_FILE_BYTES = 2 << 30
_HINT_FORMAT = "Convert it to MP4 (H.264 video, AAC audio) and try again."
_TS_PACKET = 188


@dataclass(frozen=True)
class Family:
    """A container that we read."""

    name: str
    """Our own name: `mp4`, `matroska`, `avi`, `mpegts`, `wav`, `mp3`, `flac`, `ogg`, `aac`."""
    demuxer: str
    """What `-format_whitelist` is given."""
    may_hold_video: bool
    seeks_exactly: bool = False
    """Whether a seek surely lands on or before the time asked for."""


MP4 = Family("mp4", "mov", may_hold_video=True, seeks_exactly=True)
MATROSKA = Family("matroska", "matroska", may_hold_video=True, seeks_exactly=True)
AVI = Family("avi", "avi", may_hold_video=True)
MPEGTS = Family("mpegts", "mpegts", may_hold_video=True)
WAV = Family("wav", "wav", may_hold_video=False)
MP3 = Family("mp3", "mp3", may_hold_video=False)
FLAC = Family("flac", "flac", may_hold_video=False)
OGG = Family("ogg", "ogg", may_hold_video=False)
AAC = Family("aac", "aac", may_hold_video=False)

_SCRIPTS = (b"ffconcat", b"#extm3u", b"<?xml", b"<mpd", b"[playlist]", b"<smil", b"rtsp://", b"http://", b"https://")
_OTHER_MEDIA = (
    (b"FLV\x01", "Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (b".RMF", "RealMedia"),
    (b"GIF8", "a GIF picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x00\x00\x01\xba", "an MPEG programme stream"),
    (b"\x00\x00\x01\xb3", "a bare MPEG video stream"),
    (b"\x00\x00\x00\x01", "a bare H.264 or H.265 stream"),
    (b"FORM", "AIFF"),
    (b"RIFX", "big-endian RIFF"),
    (b"#!AMR", "AMR"),
)


def sniff(path: Path) -> Family:
    """The container family of `path`, by its first bytes.

    Raises:
        UsageError: `file_not_found`.
        InputRefusedError: `media_empty`, `media_too_large` (over 2 GiB), `media_format_refused` (a playlist, a script,
            or a container that we do not read), `not_a_video` (no media file at all).
    """
    if not path.is_file():
        raise UsageError("file_not_found", "The media file does not exist.", "Check the path; it must be a plain file.")
    size = path.stat().st_size
    if size == 0:
        raise InputRefusedError("media_empty", "The file is empty (0 bytes).", "Record, copy or upload it again.")
    if size > MAX_FILE_BYTES:
        raise InputRefusedError(
            "media_too_large", f"The file has {size / 2**30:.1f} GiB; 2 GiB is the most.", "Cut out the part you need."
        )
    with path.open("rb") as file:
        head = file.read(4096)
    family = _by_magic(head)
    if family is not None:
        return family
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_SCRIPTS):
        raise InputRefusedError(
            "media_format_refused", "The file is a playlist or script that points to other files.", _HINT_FORMAT
        )
    for magic, name in _OTHER_MEDIA:
        if head.startswith(magic):
            raise InputRefusedError(
                "media_format_refused", f"The file is {name}, which is not read here.", _HINT_FORMAT
            )
    raise InputRefusedError(
        "not_a_video",
        "The file is not a video or audio file, whatever its name says.",
        "Give an MP4, MOV, MKV, WebM, AVI or TS file (for speech: WAV, MP3, M4A, OGG or FLAC).",
    )


def _by_magic(head: bytes) -> Family | None:
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return MP4
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return MATROSKA
    if head.startswith((b"RIFF", b"RF64")):
        return {b"AVI ": AVI, b"WAVE": WAV}.get(head[8:12])
    if len(head) > 2 * _TS_PACKET and head[0] == head[_TS_PACKET] == head[2 * _TS_PACKET] == 0x47:
        return MPEGTS
    if head.startswith(b"fLaC"):
        return FLAC
    if head.startswith(b"OggS"):
        return OGG
    if head.startswith(b"ID3"):
        return MP3
    if len(head) > 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        if head[1] & 0xF6 == 0xF0:  # ADTS: layer bits are zero
            return AAC
        if head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
            return MP3
    return None
