"""Many objects as one zip, written while it is sent: nothing of it lies on the disk as a whole.

The members are stored, not compressed (videos are), one after another; `manifest.json` comes last and says what became
of each item.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.storage import ObjectMissingError, ObjectStore

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """One item of a batch."""

    name: str | None
    """In the archive; None where there is no video."""
    key: str | None
    told: dict[str, Any]
    """What the manifest says about it."""


class _Pipe:
    """A file that can only be written to; what was written is taken away in between."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._written = 0

    def write(self, block: bytes, /) -> int:
        """See `io.RawIOBase.write`."""
        self._waiting += block
        self._written += len(block)
        return len(block)

    def tell(self) -> int:
        """How much was written so far."""
        return self._written

    def flush(self) -> None:
        """Nothing waits anywhere else."""

    def close(self) -> None:
        """What waits can still be taken."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


def stream_zip(store: ObjectStore, members: Sequence[Member]) -> Iterator[bytes]:
    """The archive, piece by piece; at most one video lies in a temporary file."""
    pipe = _Pipe()
    manifest = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            told = dict(member.told)
            if member.name is not None and member.key is not None:
                with tempfile.TemporaryDirectory() as folder:
                    video = Path(folder) / "video"
                    try:
                        store.fetch(member.key, video)
                    except ObjectMissingError as error:
                        told["error"] = error.as_dict()
                    else:
                        told["file"] = member.name
                        yield from _add(archive, pipe, member.name, video)
            manifest.append(told)
        archive.writestr("manifest.json", json.dumps({"items": manifest}, indent=1))
        yield pipe.take()
    yield pipe.take()


def _add(archive: zipfile.ZipFile, pipe: _Pipe, name: str, video: Path) -> Iterator[bytes]:
    with video.open("rb") as reader, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            yield pipe.take()
