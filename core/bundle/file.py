"""Writing and reading `NAME.likeness`: manifest and members together. Knows no zip records and no tensors' meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.bundle.archive import Entry, hash_member, read_directory, read_member, write_archive
from core.bundle.manifest import MAX_MANIFEST_BYTES, Manifest, MemberRecord
from core.errors import BundleError, UsageError

MANIFEST = "manifest.json"
AVATAR = "avatar.safetensors"
BACKDROP = "portrait/backdrop.mp4"
MATTE = "portrait/matte.mp4"
TRACKS = "portrait/tracks.safetensors"
PREVIEW_VIDEO = "preview.mp4"
PREVIEW_PICTURE = "preview.png"
HEAD = "head.ply"
REQUIRED = (AVATAR, BACKDROP, MATTE, TRACKS, PREVIEW_VIDEO, PREVIEW_PICTURE, HEAD)
_HINT = "Make the bundle again, or copy it again if the transfer was cut off."


@dataclass(frozen=True)
class Bundle:
    """A checked bundle: its manifest, and its members' bytes on demand."""

    path: Path
    manifest: Manifest
    entries: Mapping[str, Entry]

    def read(self, name: str) -> bytes:
        """The member's bytes, checked against the manifest again, since the file may have changed meanwhile.

        Raises:
            BundleError: `bundle_member_missing`, or `bundle_damaged` where the bytes are not the manifest's.
        """
        if name not in self.entries:
            raise _missing(name)
        with self.path.open("rb") as file:
            data = read_member(file, self.entries[name])
        if hashlib.sha256(data).hexdigest() != self.manifest.members[name].sha256:
            raise _mismatch(name)
        return data

    def extract(self, name: str, folder: Path) -> Path:
        """Write the member to `folder` under the last part of its name; for tools that want a file."""
        target = folder / name.rsplit("/", 1)[-1]
        target.write_bytes(self.read(name))
        return target


def _missing(name: str) -> BundleError:
    return BundleError("bundle_member_missing", f"The bundle has no member {name}.", _HINT)


def _mismatch(name: str) -> BundleError:
    return BundleError("bundle_damaged", f"The member {name} is not the one that the manifest names.", _HINT)


def write_bundle(path: Path, manifest: Manifest, members: Mapping[str, Path | bytes]) -> Manifest:
    """Write a bundle in one atomic step.

    Args:
        path: the file to make; an older one is replaced.
        manifest: its `members` are filled in here.
        members: name -> file or bytes; all of `REQUIRED`, and others if you like.

    Returns:
        The manifest as written.

    Raises:
        BundleError: `bundle_member_missing` where one of `REQUIRED` is absent.
    """
    for name in REQUIRED:
        if name not in members:
            raise _missing(name)
    records = {name: _record(content) for name, content in members.items()}
    written = replace(manifest, members=records)
    write_archive(path, {MANIFEST: written.to_json().encode(), **members})
    return written


def _record(content: Path | bytes) -> MemberRecord:
    if isinstance(content, bytes):
        return MemberRecord(hashlib.sha256(content).hexdigest(), len(content))
    with content.open("rb") as file:
        return MemberRecord(hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size)


def read_bundle(path: Path) -> Bundle:
    """Open a bundle and check all of it: structure, limits, version, and the hash of every member.

    Raises:
        UsageError: `file_not_found`.
        BundleError: `not_a_bundle`, `bundle_too_large`, `bundle_damaged`, `bundle_version_unknown`,
            `bundle_member_missing`.
    """
    if not path.is_file():
        raise UsageError("file_not_found", "The bundle does not exist.", "Check the path.")
    with path.open("rb") as file:
        entries = read_directory(file)
        if MANIFEST not in entries:
            raise BundleError(
                "not_a_bundle", "The archive has no manifest.json.", "Give a file that `likeness adapt` wrote."
            )
        if entries[MANIFEST].size > MAX_MANIFEST_BYTES:
            raise BundleError("bundle_too_large", "The bundle's manifest is too large.", _HINT)
        manifest = Manifest.from_json(read_member(file, entries[MANIFEST]))
        _check_members(manifest, entries)
        for name, record in manifest.members.items():
            if hash_member(file, entries[name]) != record.sha256:
                raise _mismatch(name)
    return Bundle(path, manifest, entries)


def _check_members(manifest: Manifest, entries: Mapping[str, Entry]) -> None:
    for name in (*REQUIRED, *manifest.members):
        if name not in entries:
            raise _missing(name)
    for name, entry in entries.items():
        if name == MANIFEST:
            continue
        if name not in manifest.members:
            raise BundleError("bundle_damaged", f"The member {name} is not in the manifest.", _HINT)
        if manifest.members[name].size != entry.size:
            raise _mismatch(name)
