"""A stored zip archive, read as if an enemy had made it. Knows names, bytes and limits; nothing of what they mean.

What we accept is a small subset of the zip format (PKWARE APPNOTE 6.3.10): members stored without compression, one
after the other from the first byte, then the central directory, then an end record without a comment. Every byte of
the file belongs to exactly one of these, so two readers can't see two different archives.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import BundleError

MAX_MEMBERS = 64
MAX_MEMBER_BYTES = 256 * 2**20
MAX_ARCHIVE_BYTES = 512 * 2**20
_CHUNK = 2**20
_EPOCH = (2020, 1, 1, 0, 0, 0)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}(/[a-z0-9][a-z0-9_.-]{0,63}){0,3}")

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_UTF8_FLAG = 0x800
_HINT = "Make the bundle again, or copy it again if the transfer was cut off."


@dataclass(frozen=True)
class Entry:
    """One member of the archive: where its bytes lie."""

    name: str
    offset: int
    """Of the member's first data byte in the file."""
    size: int
    crc: int


def _damaged(message: str) -> BundleError:
    return BundleError("bundle_damaged", message, _HINT)


def _not_an_archive() -> BundleError:
    return BundleError("not_a_bundle", "The file is not a Likeness bundle.", "Give a file that `likeness adapt` wrote.")


def is_safe_name(name: str) -> bool:
    """Whether a member may be called so: lower-case, relative, at most four parts, none of which starts with a dot."""
    return _NAME.fullmatch(name) is not None


def write_archive(path: Path, members: Mapping[str, Path | bytes]) -> None:
    """Write `members` (name -> file or bytes) in their order; the same members give the same bytes.

    The file appears whole or not at all: it is written beside itself and renamed.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
            for name, content in members.items():
                if not is_safe_name(name):
                    raise ValueError(f"unsafe member name {name!r}")
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_directory(file: BinaryIO) -> dict[str, Entry]:
    """Check the archive's structure and return its members by name.

    Raises:
        BundleError: `not_a_bundle` where the file is no such archive; `bundle_too_large` past a limit;
            `bundle_damaged` where records contradict each other or a member is compressed, encrypted, linked,
            repeated, or named outside `is_safe_name`.
    """
    total = file.seek(0, 2)
    if total > MAX_ARCHIVE_BYTES:
        raise BundleError("bundle_too_large", f"The bundle is larger than {MAX_ARCHIVE_BYTES >> 20} MiB.", _HINT)
    count, start, length = _read_end(file, total)
    file.seek(start)
    directory = file.read(length)
    entries: dict[str, Entry] = {}
    expected_offset = 0
    position = 0
    for _ in range(count):
        name, size, crc, header_offset, consumed = _read_central(directory, position)
        position += consumed
        if name in entries:
            raise _damaged(f"The bundle holds two members called {name}.")
        if header_offset != expected_offset:
            raise _damaged("The bundle's members overlap or leave gaps.")
        data = _check_local(file, header_offset, name, size, crc)
        entries[name] = Entry(name, data, size, crc)
        expected_offset = data + size
    if position != len(directory) or expected_offset != start:
        raise _damaged("The bundle holds bytes that belong to no member.")
    return entries


def _read_end(file: BinaryIO, total: int) -> tuple[int, int, int]:
    """End of central directory record, APPNOTE 4.3.16: the last 22 bytes, since we accept no comment."""
    if total < _END.size:
        raise _not_an_archive()
    file.seek(total - _END.size)
    signature, disk, first_disk, here, count, length, start, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\x05\x06":
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            raise _damaged("The bundle is cut off or has bytes after its end.")
        raise _not_an_archive()
    if disk or first_disk or here != count or comment:
        raise _damaged("The bundle's end record is not one that Likeness writes.")
    if count > MAX_MEMBERS:
        raise BundleError("bundle_too_large", f"The bundle holds more than {MAX_MEMBERS} members.", _HINT)
    if start + length + _END.size != total:
        raise _damaged("The bundle's directory does not end where the file does.")
    return count, start, length


def _read_central(directory: bytes, position: int) -> tuple[str, int, int, int, int]:
    """One central directory header, APPNOTE 4.3.12: name, size, crc, offset of the local header, bytes consumed."""
    fixed = directory[position : position + _CENTRAL.size]
    if len(fixed) < _CENTRAL.size:
        raise _damaged("The bundle's directory is cut off.")
    (signature, made_by, _needed, flags, method, _time, _date, crc, packed, size, name_length, extra, comment, disk,
     _internal, external, offset) = _CENTRAL.unpack(fixed)  # fmt: skip
    if signature != b"PK\x01\x02" or disk or comment or extra:
        raise _damaged("The bundle's directory is not one that Likeness writes.")
    if method != zipfile.ZIP_STORED or packed != size:
        raise _damaged("A member of the bundle is compressed; bundles are stored.")
    if flags & ~_UTF8_FLAG:
        raise _damaged("A member of the bundle is encrypted or streamed.")
    if size > MAX_MEMBER_BYTES:
        raise BundleError("bundle_too_large", f"A member is larger than {MAX_MEMBER_BYTES >> 20} MiB.", _HINT)
    file_type = external >> 16 & 0o170000
    if made_by >> 8 == 3 and file_type not in (0, 0o100000):
        raise _damaged("A member of the bundle is a link or a folder.")
    raw = directory[position + _CENTRAL.size : position + _CENTRAL.size + name_length]
    name = raw.decode("ascii", "replace")
    if len(raw) != name_length or not is_safe_name(name):
        raise _damaged("A member of the bundle has a name that is not allowed.")
    return name, size, crc, offset, _CENTRAL.size + name_length


def _check_local(file: BinaryIO, offset: int, name: str, size: int, crc: int) -> int:
    """The local header (APPNOTE 4.3.7) says what the directory says; returns the offset of the data."""
    file.seek(offset)
    fixed = file.read(_LOCAL.size)
    if len(fixed) < _LOCAL.size:
        raise _damaged("The bundle is cut off.")
    signature, _needed, flags, method, _time, _date, local_crc, packed, local_size, name_length, extra = _LOCAL.unpack(
        fixed
    )
    same = (signature, method, packed, local_size, local_crc) == (b"PK\x03\x04", 0, size, size, crc)
    if not same or flags & ~_UTF8_FLAG or extra or file.read(name_length) != name.encode():
        raise _damaged("A member's header contradicts the bundle's directory.")
    return offset + _LOCAL.size + int(name_length)


def read_member(file: BinaryIO, entry: Entry) -> bytes:
    """The member's bytes.

    Raises:
        BundleError: `bundle_damaged` where their checksum is not the directory's.
    """
    file.seek(entry.offset)
    data = file.read(entry.size)
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise _damaged(f"The member {entry.name} is damaged.")
    return data


def hash_member(file: BinaryIO, entry: Entry) -> str:
    """SHA-256 of the member's bytes, hexadecimal, without holding them in memory."""
    file.seek(entry.offset)
    digest = hashlib.sha256()
    left = entry.size
    while left > 0:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise _damaged(f"The member {entry.name} is cut off.")
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()
