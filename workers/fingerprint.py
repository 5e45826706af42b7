"""Which code a worker runs: part of the name of every result, so that none is reused after the code has changed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import core

_SCIENCE = ("avatar", "bundle", "clip", "learn", "media", "models", "provenance", "render", "splat")
_SUFFIXES = frozenset({".py", ".safetensors", ".so", ".npy", ".npz", ".json"})


@cache
def code_version() -> str:
    """sha256 over the files that decide what a stage makes: the rooms of the science, their data and native kernels."""
    root = Path(str(core.__file__)).parent
    files = [root / "pipeline.py", root / "camera.py"]
    for room in _SCIENCE:
        files += (path for path in (root / room).rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(str(path.relative_to(root)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
