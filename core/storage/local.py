"""An object store in a folder of this machine. An object is a file, and its sha256 lies beside it.

The object's file is linked into place last, which fails where one is there: a put is atomic and never overwrites.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

from core.storage.protocol import ObjectExistsError, ObjectMissingError, StoredObject, check_key

_CHUNK = 1 << 20


class DamagedObjectError(OSError):
    """The object's bytes no longer have the sha256 under which they were stored."""


class LocalStore:
    """`ObjectStore` over `root`; the folder is private to the user who runs the platform."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / "sums").mkdir(exist_ok=True, mode=0o700)
        (root / "partial").mkdir(exist_ok=True, mode=0o700)

    def put(self, key: str, source: Path) -> StoredObject:
        """See `ObjectStore.put`."""
        target = self.root / "data" / check_key(key)
        if target.exists():
            raise ObjectExistsError(key)
        partial = self._partial()
        try:
            digest, size = copy_hashed(source, partial)
            partial.chmod(0o400)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                os.link(partial, target)
            except FileExistsError:
                raise ObjectExistsError(key) from None
            self._write_sum(key, digest)
            _sync_folder(target.parent)
        finally:
            partial.unlink(missing_ok=True)
        return StoredObject(key, size, digest)

    def fetch(self, key: str, destination: Path) -> StoredObject:
        """See `ObjectStore.fetch`."""
        known = self.stat(key)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.partial")
        try:
            digest, size = copy_hashed(self.root / "data" / key, partial)
            if digest != known.sha256:
                raise DamagedObjectError(f"object {key} is damaged: its sha256 is {digest}, not {known.sha256}")
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        return StoredObject(key, size, digest)

    def stat(self, key: str) -> StoredObject:
        """See `ObjectStore.stat`."""
        target = self.root / "data" / check_key(key)
        try:
            size = target.stat().st_size
            digest = self._sum_path(key).read_text().strip() if self._sum_path(key).exists() else self._restore_sum(key)
        except FileNotFoundError:
            raise ObjectMissingError(key) from None
        return StoredObject(key, size, digest)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        target = self.root / "data" / check_key(key)
        target.unlink(missing_ok=True)
        self._sum_path(key).unlink(missing_ok=True)
        for folder in (target.parent, self._sum_path(key).parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def local_path(self, key: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        path = self.root / "data" / check_key(key)
        return path if path.is_file() else None

    def _partial(self) -> Path:
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / uuid.uuid4().hex

    def _sum_path(self, key: str) -> Path:
        return self.root / "sums" / f"{key}.sha256"

    def _restore_sum(self, key: str) -> str:
        """A process may die between the object's link and its sum: the object is whole, so its sum can be had again."""
        with (self.root / "data" / key).open("rb") as reader:
            digest = hashlib.file_digest(reader, "sha256").hexdigest()
        self._write_sum(key, digest)
        return digest

    def _write_sum(self, key: str, digest: str) -> None:
        path = self._sum_path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._partial()
        partial.write_text(digest + "\n")
        partial.replace(path)


def copy_hashed(source: Path, destination: Path) -> tuple[str, int]:
    """Copy a file and flush it to disk. Returns its sha256 (hexadecimal) and size in bytes."""
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as reader, destination.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
