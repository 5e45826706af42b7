"""What an object store promises: immutable objects under keys, each with its size and sha256.

It must not know what the objects are, nor who owns them: the keys' meaning is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


@dataclass(frozen=True)
class ListedObject:
    """An object in a listing."""

    key: str
    size: int
    """Bytes."""
    age_s: float
    """Seconds since it was stored, by the store's own clock."""


@dataclass(frozen=True)
class Target:
    """Where anyone who has it may send bytes: PUT to `url`, with exactly these headers."""

    url: str
    """A path (starting with `/`) is one of this platform's API."""
    headers: dict[str, str]


class ObjectExistsError(LikenessError):
    """An object with this key is there already: objects are never overwritten."""

    def __init__(self, key: str) -> None:
        super().__init__("object_exists", f"The object {key} exists already.", "Objects are never overwritten.")


class ObjectMissingError(LikenessError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__("object_missing", f"The object {key} is not in the store.", "It may have been deleted.")


class StorageUnavailableError(LikenessError):
    """The store did not answer, or only with errors of its own, for as long as we waited."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("storage_unavailable", "The object store can't be reached.", "Try again in a few seconds.")


class StorageRefusedError(LikenessError):
    """The store refuses what we ask: wrong keys, no such bucket, no permission."""

    def __init__(self, reason: str) -> None:
        super().__init__("storage_refused", f"The object store refused a request: {reason}.", "See docs/storage.md.")


class DamagedObjectError(OSError):
    """The object's bytes no longer have the sha256 under which they were stored."""

    def __init__(self, stored: StoredObject, sha256: str) -> None:
        super().__init__(f"object {stored.key} is damaged: its sha256 is {sha256}, not {stored.sha256}")


class ObjectStore(Protocol):
    """Immutable objects under keys such as `tenant/kind/id/a2/name`.

    Every call may raise StorageUnavailableError or StorageRefusedError.
    """

    def put(self, key: str, source: Path) -> StoredObject:
        """Store a copy of `source`, whole or not at all.

        Raises:
            ObjectExistsError: the key is taken; the object there stays as it is.
        """

    def fetch(self, key: str, destination: Path) -> StoredObject:
        """Write the object to `destination`, whole or not at all, and check its sha256 on the way.

        Raises:
            ObjectMissingError: no such object.
            DamagedObjectError: its bytes are not those that were stored.
        """

    def stat(self, key: str) -> StoredObject:
        """Size and sha256 as they were recorded when the object was put.

        Raises:
            ObjectMissingError: no such object.
        """

    def verify(self, key: str) -> StoredObject:
        """Size and sha256 of the bytes as they are: what a caller announced proves nothing. May read all of them.

        Raises:
            ObjectMissingError: no such object.
        """

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """All objects whose keys start with `prefix` (`""`: all)."""

    def put_target(self, key: str, size: int, sha256: str, content_type: str, seconds: float) -> Target:
        """Where to PUT the whole object within so many seconds; other bytes than the announced ones are refused."""

    def get_url(self, key: str, filename: str, content_type: str, seconds: float) -> str:
        """Where anyone who has the URL may GET the object within so many seconds, as a download called `filename`."""

    def start_parts(self, key: str, sha256: str, content_type: str) -> str:
        """Begin an object that comes in parts, each sent to its own target. Returns the id of this upload."""

    def part_target(self, key: str, upload: str, number: int, size: int, seconds: float) -> Target:
        """Where to PUT part `number` (1, 2, ...) of `size` bytes. Sent again, it replaces what was there."""

    def stored_parts(self, key: str, upload: str) -> dict[int, int]:
        """The parts that are here: number -> bytes. Empty where there is no such upload (any more)."""

    def join_parts(self, key: str, upload: str) -> None:
        """Make the object of all its parts, in the order of their numbers. The upload ends.

        Raises:
            ObjectExistsError: the key is taken.
            ObjectMissingError: no such upload, or it has no parts.
        """

    def abort_parts(self, key: str, upload: str) -> None:
        """Drop an upload and its parts; nothing happens where there is none."""

    def drop_leftovers(self, older_than_s: float) -> int:
        """Drop what began before so many seconds and was never finished: uploads in parts, files of killed processes.

        Returns how many were dropped.
        """


def is_key(text: str) -> bool:
    """Whether it is a key: parts of letters, digits, `_`, `-`, `.`, none of which starts with a dot."""
    return len(text) <= MAX_KEY_LENGTH and _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """The key itself, if it is one.

    Raises:
        ValueError: our own mistake; keys are never made from a user's text.
    """
    if not is_key(key):
        raise ValueError(f"not an object key: {key!r}")
    return key
