"""What a bundle says about itself: `manifest.json`, from and to JSON. Knows no files, no zip and no tensors.

Minor versions add keys, and a reader ignores the keys it does not know; a major version may change anything, so an
unknown one is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.camera import Camera
from core.errors import BundleError

FORMAT_VERSION = "1.0"
SUPPORTED_MAJOR = 1
MAX_MANIFEST_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True)
class MemberRecord:
    """What the manifest says about one member of the archive."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class SpeechFeatures:
    """Which speech features drive the avatar."""

    name: str
    """Of the encoder, for example `whisper-tiny.en`."""
    dimension: int
    """Numbers a step after reduction: what the avatar's windows hold."""
    rate_hz: int
    """Steps a second."""


@dataclass(frozen=True)
class UmfReference:
    """The universal motion field that the adaptation started from."""

    name: str
    sha256: str


@dataclass(frozen=True)
class SourceFrames:
    """Which frames of the source (25 fps timeline) the avatar has learned from."""

    start: int
    count: int


@dataclass(frozen=True)
class Manifest:
    """The bundle's own description."""

    id: str
    """Of this bundle, unique, for example a UUID."""
    created: str
    """ISO 8601, UTC."""
    project_version: str
    profile: str
    size: int
    """Side of the square picture in pixels."""
    fps: int
    focal: float
    """Focal length in pixels at `size`; the principal point is the picture's centre."""
    reference_focal: float
    """Focal length in pixels of a 512-pixel crop."""
    crop: tuple[int, int, int]
    """Left, top, side of the square crop in the source, pixels; may reach over its border."""
    lag_frames: int
    """The speech of frame f is found at frame f + lag."""
    speech: SpeechFeatures
    source_frames: SourceFrames
    umf: UmfReference | None = None
    consent_id: str | None = None
    licence: str = "unstated"
    """What may be done with the avatar, in the words of whoever made it."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    members: Mapping[str, MemberRecord] = field(default_factory=dict)
    """Every member but `manifest.json` itself, by name."""
    format_version: str = FORMAT_VERSION

    @property
    def camera(self) -> Camera:
        """The camera at the bundle's own size."""
        return Camera.centred(self.focal, self.size)

    def to_json(self) -> str:
        """Indented JSON with stable key order."""
        values = asdict(self)
        values["crop"] = list(self.crop)
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """Parse and check a manifest.

        Raises:
            BundleError: `bundle_version_unknown` for another major version; `bundle_damaged` for anything that is not
                a manifest.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise _damaged("is not JSON") from None
        if not isinstance(values, dict):
            raise _damaged("is not an object")
        version = _text(values, "format_version", 16)
        _check_version(version)
        umf = _section(values, "umf") if values.get("umf") is not None else None
        speech, source = _section(values, "speech"), _section(values, "source_frames")
        size = _integer(values, "size", 16, 4096)
        return Manifest(
            id=_text(values, "id", 64),
            created=_text(values, "created", 40),
            project_version=_text(values, "project_version", 64),
            profile=_text(values, "profile", 32),
            size=size,
            fps=_integer(values, "fps", 1, 240),
            focal=_number(values, "focal", 1.0, 1e6),
            reference_focal=_number(values, "reference_focal", 1.0, 1e6),
            crop=_crop(values),
            lag_frames=_integer(values, "lag_frames", -50, 50),
            speech=SpeechFeatures(
                _text(speech, "name", 64), _integer(speech, "dimension", 1, 4096), _integer(speech, "rate_hz", 1, 1000)
            ),
            source_frames=SourceFrames(_integer(source, "start", 0, 2**31), _integer(source, "count", 1, 2**31)),
            umf=UmfReference(_text(umf, "name", 128), _hash(umf, "sha256")) if umf is not None else None,
            consent_id=_text(values, "consent_id", 128) if values.get("consent_id") is not None else None,
            licence=_text(values, "licence", 4096),
            metrics=_metrics(values),
            members=_members(values),
            format_version=version,
        )


def _damaged(reason: str) -> BundleError:
    return BundleError("bundle_damaged", f"The bundle's manifest {reason}.", "Make the bundle again.")


def _check_version(version: str) -> None:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise _damaged("has no format version")
    if int(match[1]) != SUPPORTED_MAJOR:
        raise BundleError(
            "bundle_version_unknown",
            f"The bundle has format version {version}; this Likeness reads {SUPPORTED_MAJOR}.x.",
            "Install the version of Likeness that wrote it, or make the bundle again with this one.",
        )


def _section(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    if not isinstance(value, dict):
        raise _damaged(f"has no section {key}")
    return value


def _text(values: Mapping[str, Any], key: str, longest: int) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise _damaged(f"has no usable {key}")
    return value


def _integer(values: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _damaged(f"has no usable {key}")
    return value


def _number(values: Mapping[str, Any], key: str, low: float, high: float) -> float:
    value = values.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise _damaged(f"has no usable {key}")
    return float(value)


def _hash(values: Mapping[str, Any], key: str) -> str:
    value = _text(values, key, 64)
    if _SHA256.fullmatch(value) is None:
        raise _damaged(f"has no usable {key}")
    return value


def _crop(values: Mapping[str, Any]) -> tuple[int, int, int]:
    value = values.get("crop")
    if not isinstance(value, list) or len(value) != 3:
        raise _damaged("has no usable crop")
    named = dict(zip(("left", "top", "side"), value, strict=True))
    return (
        _integer(named, "left", -(2**20), 2**20),
        _integer(named, "top", -(2**20), 2**20),
        _integer(named, "side", 1, 2**20),
    )


def _metrics(values: Mapping[str, Any]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for name, value in _section(values, "metrics").items():
        if value is not None and (not isinstance(value, int | float) or not -1e300 < value < 1e300):
            raise _damaged("has a metric that is no number")
        result[name] = None if value is None else float(value)
    return result


def _members(values: Mapping[str, Any]) -> dict[str, MemberRecord]:
    records = {}
    for name in (section := _section(values, "members")):
        record = _section(section, name)
        records[name] = MemberRecord(_hash(record, "sha256"), _integer(record, "size", 0, 2**40))
    return records
