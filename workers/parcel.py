"""Files of a work folder as one object, and back: how a stage's results and checkpoints travel between machines."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path


def pack(folder: Path, names: Sequence[str], parcel: Path, *, all_of_them: bool) -> None:
    """Put those files and folders of `folder` into `parcel`, an uncompressed tar.

    A file that is replaced meanwhile goes in as it was when it was opened.

    Raises:
        FileNotFoundError: one is absent; without `all_of_them` it is left out.
    """
    for name in names:
        if all_of_them and not (folder / name).exists():
            raise FileNotFoundError(f"a stage did not leave {name}")
    with tarfile.open(parcel, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            for path in _files(folder / name):
                with path.open("rb") as file:
                    entry = archive.gettarinfo(fileobj=file, arcname=str(path.relative_to(folder)))
                    archive.addfile(entry, file)


def unpack(parcel: Path, folder: Path, names: Sequence[str]) -> None:
    """Put the parcel's files into `folder`, in place of what is there under `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        remove(folder / name)
    with tarfile.open(parcel) as archive:
        archive.extractall(folder, filter="data")


def remove(path: Path) -> None:
    """Delete a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(inner for inner in path.rglob("*") if inner.is_file())
    return [path] if path.is_file() else []
