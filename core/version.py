"""Which version of the project is running, for files that outlive it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "likeness-heads"


def project_version() -> str:
    """The installed version, or `unknown` where the project runs without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
