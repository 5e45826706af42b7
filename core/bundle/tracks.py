"""`portrait/tracks.safetensors`: how the recorded person held the head, frame by frame. Knows no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from core.clip.skin import Skin
from core.errors import BundleError

MAX_FRAMES = 25 * 60 * 10
"""Ten minutes: more frames than a portrait has use for."""
MAX_POINTS = 100_000
FURTHEST_SKIN = 0.2
"""Metres from head space's origin, along each axis."""
STRONGEST_PATTERN = 100.0


@dataclass(frozen=True)
class Tracks:
    """T recorded frames and the person's own rigid points."""

    rotations: npt.NDArray[np.float64]
    """[T, 3, 3] head space -> camera space."""
    translations: npt.NDArray[np.float64]
    """[T, 3] metres."""
    expression: npt.NDArray[np.float32]
    """[T, 6] upper face 0..1, as in `Clip.expression`."""
    valid: npt.NDArray[np.bool_]
    """[T] whether the face was seen."""
    lip_boxes: npt.NDArray[np.float32]
    """[T, 4] left, top, right, bottom of the outer lips in pixels of the bundle's size."""
    rigid_points: npt.NDArray[np.float64]
    """[n, 3] head space, metres; another clip of the same person is tracked with them."""

    expression_range: npt.NDArray[np.float64] | None = None
    """[2, 6] raw values that count as 0 and 1 of this person's expression, as in `Reference`."""
    skin: Skin | None = None
    """What another clip of the same person is aligned to, as in `Reference`."""

    @property
    def count(self) -> int:
        """Number of frames T."""
        return int(self.rotations.shape[0])

    def to_bytes(self) -> bytes:
        """The tracks as one safetensors file."""
        arrays = {name: getattr(self, name) for name in _SHAPES if name not in _SKIN}
        if self.skin is not None:
            arrays |= {name: getattr(self.skin, field) for name, field in _SKIN.items()}
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None})

    @staticmethod
    def from_bytes(data: bytes) -> Tracks:
        """Parse and check: names, types, shapes, finite values, and rotations that are rotations.

        Raises:
            BundleError: `bundle_damaged`.
        """
        try:
            arrays = load(data)
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise _damaged("can't be read") from None
        count = arrays["rotations"].shape[0] if "rotations" in arrays and arrays["rotations"].ndim == 3 else 0
        if not 0 < count <= MAX_FRAMES:
            raise _damaged("hold no usable number of frames")
        for name in _SHAPES:
            if name in arrays or name not in _OPTIONAL:
                _check_array(name, arrays.get(name), count)
        skins = [arrays[name] for name in _SKIN if name in arrays]
        if skins and (len(skins) < len(_SKIN) or len({len(one) for one in skins}) > 1 or not len(skins[0])):
            raise _damaged("hold a part of a skin")
        skin = Skin(*skins) if skins else None
        if skin is not None and not _plausible(skin):
            raise _damaged("hold a skin that is none")
        kept = {name: arrays[name] for name in _SHAPES if name in arrays and name not in _SKIN}
        tracks = Tracks(**kept, skin=skin)
        products = tracks.rotations @ tracks.rotations.transpose(0, 2, 1)
        if np.abs(products - np.eye(3)).max() > 1e-3 or (np.linalg.det(tracks.rotations) < 0).any():
            raise _damaged("hold a matrix that is no rotation")
        limits = tracks.expression_range
        if limits is not None and not (limits[1] > limits[0]).all():
            raise _damaged("hold an empty range of expression")
        return tracks


def _plausible(skin: Skin) -> bool:
    """Whether the points lie on a head, and the numbers are such as `core.clip.skin` makes."""
    near = np.abs(skin.points).max() <= FURTHEST_SKIN and np.abs(skin.pattern).max() <= STRONGEST_PATTERN
    return bool(near and skin.trust.min() >= 0 and skin.trust.max() <= 1)


def _check_array(name: str, array: npt.NDArray[np.generic] | None, count: int) -> None:
    kind, tail = _SHAPES[name]
    own = array.shape[0] if array is not None and array.ndim else 0
    length = {"expression_range": 2, **dict.fromkeys(("rigid_points", *_SKIN), own)}.get(name, count)
    if array is None or array.dtype != kind or array.shape != (length, *tail) or length > MAX_POINTS:
        raise _damaged(f"have no usable {name}")
    if not np.isfinite(array.astype(np.float64)).all():
        raise _damaged(f"hold a {name} that is no number")


_SHAPES: dict[str, tuple[type, tuple[int, ...]]] = {
    "rotations": (np.float64, (3, 3)),
    "translations": (np.float64, (3,)),
    "expression": (np.float32, (6,)),
    "valid": (np.bool_, ()),
    "lip_boxes": (np.float32, (4,)),
    "rigid_points": (np.float64, (3,)),
    "expression_range": (np.float64, (6,)),
    "skin_points": (np.float64, (3,)),
    "skin_pattern": (np.float32, ()),
    "skin_trust": (np.float32, ()),
}
_SKIN = {"skin_points": "points", "skin_pattern": "pattern", "skin_trust": "trust"}
_OPTIONAL = ("expression_range", *_SKIN)


def _damaged(reason: str) -> BundleError:
    return BundleError("bundle_damaged", f"The portrait's tracks {reason}.", "Make the bundle again.")
