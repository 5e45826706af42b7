"""Writes `requirements-api.txt`: what the API's image installs, pinned. A test says when it must be written again.

The product is one distribution, so that `pip install likeness-heads` gives a plain user all of it. The API's image
wants less: this follows the dependencies of what the API imports, as installed here, and takes the versions that were
tested together (`constraints.txt`).

    .venv/bin/python infra/docker/api_requirements.py
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "infra" / "docker" / "requirements-api.txt"
NOT_FOR_THE_API = frozenset(
    canonicalize_name(name)
    for name in (
        "torch", "numpy", "scipy", "mediapipe", "ai-edge-litert", "ctranslate2", "opencv-contrib-python",
        "scikit-image", "imageio-ffmpeg", "ffmpeg-python", "safetensors", "dlib-bin", "c2pa-python",
    )
)  # fmt: skip
"""What only stages need."""
IMAGE = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "extra": ""}


def requirements() -> str:
    """The file's text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["tracing"])]
    found: set[str] = set()
    for requirement in wanted:
        if canonicalize_name(requirement.name) not in NOT_FOR_THE_API:
            _follow(requirement, found)
    pins = _pins()
    missing = sorted(name for name in found if name not in pins)
    if missing:
        raise SystemExit(f"not pinned in constraints.txt: {', '.join(missing)}")
    head = "# Written by infra/docker/api_requirements.py; see there.\n"
    return head + "".join(f"{name}=={pins[name]}\n" for name in sorted(found))


def _follow(requirement: Requirement, found: set[str]) -> None:
    name = canonicalize_name(requirement.name)
    extras = ("", *requirement.extras)
    if name in found and not requirement.extras:
        return
    found.add(name)
    for line in metadata.requires(name) or ():
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({**IMAGE, "extra": extra}) for extra in extras):
            _follow(needed, found)


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version.strip() for name, version in pairs}


if __name__ == "__main__":
    FILE.write_text(requirements())
