"""The universal motion fields on offer: `none`, those that ship with the product, and the files of one folder."""

from __future__ import annotations

import re
from pathlib import Path

import core
from api.deps import Platform
from api.problems import ApiError

SHIPPED = Path(str(core.__file__)).parent / "learn" / "umfs"
"""Looked at as a folder: the room that reads these files needs torch."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def umf_files(platform: Platform) -> dict[str, Path]:
    """Name -> file, sorted by name. The operator's own wins over a shipped one."""
    folders = (SHIPPED, platform.settings.umf_dir)
    found = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    return {path.stem: path for path in found if _NAME.fullmatch(path.stem) and path.stem != "none"}


def umf_option(platform: Platform, name: str) -> str:
    """What the stages are told: `none`, the name of a shipped field, or the file of one of the operator's.

    Raises:
        ApiError: `umf_unknown`.
    """
    if name == "none":
        return name
    path = umf_files(platform).get(name)
    if path is None:
        raise ApiError("umf_unknown", "There is no universal motion field of this name.", "GET /v1/umfs lists them.")
    return name if path.parent == SHIPPED else str(path)
