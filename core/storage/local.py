"""An object store in a folder of this machine. An object is a file, and its sha256 lies beside it.

The object's file is linked into place last, which fails where one is there: a put is atomic and never overwrites.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from core.storage.protocol import (
    DamagedObjectError,
    ListedObject,
    ObjectExistsError,
    ObjectMissingError,
    StoredObject,
    Target,
    check_key,
)
from core.storage.signed_links import LinkSigner

_CHUNK = 1 << 20
_KEY_FILE = "key"


class LocalStore:
    """`ObjectStore` over `root`; the folder is private to the user who runs the platform."""

    def __init__(self, root: Path, links: LinkSigner | None = None) -> None:
        self.root = root
        self._links = links
        (root / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / "sums").mkdir(exist_ok=True, mode=0o700)
        (root / "partial").mkdir(exist_ok=True, mode=0o700)
        (root / "parts").mkdir(exist_ok=True, mode=0o700)

    @property
    def links(self) -> LinkSigner:
        """Signs the links of this store; only a process that knows the platform's secret has it."""
        if self._links is None:
            raise RuntimeError("this store was opened without a secret: it can't make links")
        return self._links

    def put(self, key: str, source: Path) -> StoredObject:
        """See `ObjectStore.put`."""
        target = self.root / "data" / check_key(key)
        if target.exists():
            raise ObjectExistsError(key)
        partial = self._partial()
        try:
            digest, size = copy_hashed([source], partial)
            self._link(key, partial, digest)
        finally:
            partial.unlink(missing_ok=True)
        return StoredObject(key, size, digest)

    def fetch(self, key: str, destination: Path) -> StoredObject:
        """See `ObjectStore.fetch`."""
        known = self.stat(key)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.partial")
        try:
            digest, size = copy_hashed([self.root / "data" / key], partial)
            if digest != known.sha256:
                raise DamagedObjectError(known, digest)
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

    def verify(self, key: str) -> StoredObject:
        """See `ObjectStore.verify`. The recorded sum was taken from the bytes on their way in."""
        return self.stat(key)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        target = self.root / "data" / check_key(key)
        target.unlink(missing_ok=True)
        self._sum_path(key).unlink(missing_ok=True)
        for folder in (target.parent, self._sum_path(key).parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        """See `ObjectStore.objects`."""
        data = self.root / "data"
        now = time.time()
        for path in sorted(data.rglob("*")):
            key = path.relative_to(data).as_posix()
            with contextlib.suppress(FileNotFoundError):
                if key.startswith(prefix) and path.is_file():
                    about = path.stat()
                    yield ListedObject(key, about.st_size, now - about.st_mtime)

    def put_target(self, key: str, size: int, sha256: str, content_type: str, seconds: float) -> Target:
        """See `ObjectStore.put_target`."""
        url = self.links.sign("PUT", check_key(key), seconds, size=size, sha256=sha256)
        return Target(url, {"Content-Type": content_type})

    def get_url(self, key: str, filename: str, content_type: str, seconds: float) -> str:
        """See `ObjectStore.get_url`."""
        return self.links.sign("GET", check_key(key), seconds, filename=filename, content_type=content_type)

    def start_parts(self, key: str, sha256: str, content_type: str) -> str:
        """See `ObjectStore.start_parts`."""
        del sha256, content_type
        upload = uuid.uuid4().hex
        folder = self._parts_folder(upload)
        folder.mkdir(parents=True, mode=0o700)
        (folder / _KEY_FILE).write_text(check_key(key))
        return upload

    def part_target(self, key: str, upload: str, number: int, size: int, seconds: float) -> Target:
        """See `ObjectStore.part_target`."""
        return Target(self.links.sign("PUT", check_key(key), seconds, size=size, upload=upload, part=number), {})

    def keep_part(self, key: str, upload: str, number: int, source: Path) -> None:
        """Move `source`, a file that may go, to where the parts of this upload are.

        Raises:
            ObjectMissingError: no such upload.
        """
        folder = self._parts_folder(upload)
        try:
            if (folder / _KEY_FILE).read_text() != key:
                raise ObjectMissingError(key)
            source.replace(folder / str(number))
        except FileNotFoundError:
            raise ObjectMissingError(key) from None

    def stored_parts(self, key: str, upload: str) -> dict[int, int]:
        """See `ObjectStore.stored_parts`."""
        del key
        folder = self._parts_folder(upload)
        if not folder.is_dir():
            return {}
        return {int(path.name): path.stat().st_size for path in folder.iterdir() if path.name != _KEY_FILE}

    def join_parts(self, key: str, upload: str) -> None:
        """See `ObjectStore.join_parts`."""
        numbers = sorted(self.stored_parts(key, upload))
        if not numbers:
            raise ObjectMissingError(key)
        folder = self._parts_folder(upload)
        partial = self._partial()
        try:
            digest, _ = copy_hashed([folder / str(number) for number in numbers], partial)
            self._link(key, partial, digest)
        finally:
            partial.unlink(missing_ok=True)
        self.abort_parts(key, upload)

    def abort_parts(self, key: str, upload: str) -> None:
        """See `ObjectStore.abort_parts`."""
        del key
        shutil.rmtree(self._parts_folder(upload), ignore_errors=True)

    def drop_leftovers(self, older_than_s: float) -> int:
        """See `ObjectStore.drop_leftovers`."""
        before = time.time() - older_than_s
        dropped = 0
        for folder in (self.root / "parts").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if (folder / _KEY_FILE).stat().st_mtime < before:
                    shutil.rmtree(folder)
                    dropped += 1
        for path in (self.root / "partial").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    dropped += 1
        return dropped

    def local_path(self, key: str) -> Path | None:
        """The object as a file of this machine, read-only; None where there is none."""
        path = self.root / "data" / check_key(key)
        return path if path.is_file() else None

    def incoming(self) -> Path:
        """A new path on the store's own disk, for bytes that are being received."""
        return self._partial()

    def _link(self, key: str, partial: Path, digest: str) -> None:
        target = self.root / "data" / check_key(key)
        partial.chmod(0o400)
        linked = False
        while not linked:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                os.link(partial, target)
                linked = True
            except FileExistsError:
                raise ObjectExistsError(key) from None
            except FileNotFoundError:
                continue  # a delete beside us removed the folder that had become empty
        self._write_sum(key, digest)
        _sync_folder(target.parent)

    def _partial(self) -> Path:
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / uuid.uuid4().hex

    def _parts_folder(self, upload: str) -> Path:
        return self.root / "parts" / uuid.UUID(hex=upload).hex

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


def copy_hashed(sources: list[Path], destination: Path) -> tuple[str, int]:
    """Copy files, one after the other, into one, and flush it to disk. Returns its sha256 (hexadecimal) and bytes."""
    digest = hashlib.sha256()
    size = 0
    with destination.open("wb") as writer:
        for source in sources:
            with source.open("rb") as reader:
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
