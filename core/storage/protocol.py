"""What an object store promises: immutable objects under keys, each with its size and sha256.

It must not know what the objects are, nor who owns them: the keys' meaning is the caller's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import LikenessError

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
MAX_KEY_LENGTH = 512


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies in the store."""

    key: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""


class ObjectExistsError(LikenessError):
    """An object with this key is there already: objects are never overwritten."""

    def __init__(self, key: str) -> None:
        super().__init__("object_exists", f"The object {key} exists already.", "Objects are never overwritten.")


class ObjectMissingError(LikenessError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__("object_missing", f"The object {key} is not in the store.", "It may have been deleted.")


class ObjectStore(Protocol):
    """Immutable objects under keys such as `tenant/kind/id/a2/name`."""

    def put(self, key: str, source: Path) -> StoredObject:
        """Store a copy of `source`, whole or not at all.

        Raises:
            ObjectExistsError: the key is taken; the object there stays as it is.
        """

    def fetch(self, key: str, destination: Path) -> StoredObject:
        """Write the object to `destination`, whole or not at all, and check its sha256 on the way.

        Raises:
            ObjectMissingError: no such object.
        """

    def stat(self, key: str) -> StoredObject:
        """Size and sha256 as they were recorded when the object was put.

        Raises:
            ObjectMissingError: no such object.
        """

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def local_path(self, key: str) -> Path | None:
        """The object as a file of this machine, read-only, or None for a store that has no files here."""


def check_key(key: str) -> str:
    """The key itself, if it is one: parts of letters, digits, `_`, `-`, `.`, none of which starts with a dot.

    Raises:
        ValueError: our own mistake; keys are never made from a user's text.
    """
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key
