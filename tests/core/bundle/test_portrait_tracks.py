"""The portrait's tracks survive the file, and refuse what is not a track."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from core.bundle.tracks import Tracks
from core.errors import BundleError


def test_tracks_survive_to_the_bit(tracks: Tracks) -> None:
    again = Tracks.from_bytes(tracks.to_bytes())
    assert again.count == 5
    assert tracks.skin is not None and again.skin is not None
    assert again.skin.digest() == tracks.skin.digest()
    for name, value in vars(replace(tracks, skin=None)).items():
        np.testing.assert_array_equal(getattr(replace(again, skin=None), name), value)


def forged(tracks: Tracks, name: str) -> bytes:
    arrays = {key: np.array(value) for key, value in load(tracks.to_bytes()).items()}
    if name == "mirrored":
        arrays["rotations"][0] *= -1
    elif name == "stretched":
        arrays["rotations"][2] *= 1.5
    elif name == "infinite":
        arrays["translations"][0, 0] = np.inf
    elif name == "short":
        arrays["expression"] = arrays["expression"][:-1]
    elif name == "other type":
        arrays["expression"] = arrays["expression"].astype(np.float64)
    elif name == "missing":
        del arrays["valid"]
    elif name == "no range":
        arrays["expression_range"][1] = 0
    elif name == "half a skin":
        del arrays["skin_trust"]
    elif name == "uneven skin":
        arrays["skin_pattern"] = arrays["skin_pattern"][:-1]
    elif name == "no skin at all":
        arrays |= {key: value[:0] for key, value in arrays.items() if key.startswith("skin")}
    elif name == "skin behind the camera":
        arrays["skin_points"][3, 2] = 3.0
    elif name == "skin trusted twice":
        arrays["skin_trust"][3] = 2.0
    elif name == "skin beyond numbers":
        arrays["skin_points"][3, 1] = np.nan
    elif name == "empty":
        arrays = {key: value[:0] for key, value in arrays.items()}
    return save(arrays)


@pytest.mark.parametrize(
    "name",
    [
        "mirrored", "stretched", "infinite", "short", "other type", "missing", "empty", "no range", "half a skin",
        "uneven skin", "no skin at all", "skin beyond numbers", "skin behind the camera", "skin trusted twice",
    ],
)  # fmt: skip
def test_forged_tracks_are_damaged(tracks: Tracks, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        Tracks.from_bytes(forged(tracks, name))
    assert caught.value.code == "bundle_damaged"


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\xff" * 16])
def test_other_bytes_are_damaged(data: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        Tracks.from_bytes(data)
    assert caught.value.code == "bundle_damaged"


def test_non_contiguous_arrays_are_written_right(tracks: Tracks) -> None:
    flipped = replace(tracks, translations=np.asfortranarray(tracks.translations))
    np.testing.assert_array_equal(Tracks.from_bytes(flipped.to_bytes()).translations, tracks.translations)


def test_tracks_without_a_calibrated_expression_are_whole_too(tracks: Tracks) -> None:
    plain = replace(tracks, expression_range=None)
    assert Tracks.from_bytes(plain.to_bytes()).expression_range is None


def test_tracks_without_a_skin_are_whole_too(tracks: Tracks) -> None:
    assert Tracks.from_bytes(replace(tracks, skin=None).to_bytes()).skin is None
