"""The recorded portrait survives the bundle, and a forged one is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.bundle.file import BACKDROP, REQUIRED, TRACKS, Bundle, read_bundle, write_bundle
from core.bundle.manifest import Manifest
from core.bundle.portrait import build_portrait, open_portrait, person_matte, reference
from core.clip.backdrop import backdrop
from core.clip.layout import Clip, Label
from core.errors import BundleError, CancelledError
from core.progress import StageContext

Make = Callable[[dict[str, Path | bytes]], Bundle]


@pytest.fixture
def make(tmp_path: Path, manifest: Manifest, small_clip: Clip) -> Make:
    def build(changes: dict[str, Path | bytes]) -> Bundle:
        folder = tmp_path / "portrait"
        folder.mkdir()
        members: dict[str, Path | bytes] = dict.fromkeys(REQUIRED, b"x")
        members |= build_portrait(small_clip, folder, StageContext()).members | changes
        sized = replace(
            manifest,
            size=small_clip.size,
            crop=small_clip.reference.crop,
            reference_focal=small_clip.reference.focal,
            lag_frames=small_clip.reference.lag_frames,
        )
        write_bundle(tmp_path / "b.likeness", sized, members)
        return read_bundle(tmp_path / "b.likeness")

    return build


def test_backdrops_mattes_and_tracks_come_back(make: Make, small_clip: Clip, tmp_path: Path) -> None:
    portrait = open_portrait(make({}), tmp_path, with_matte=True)
    assert portrait.count == small_clip.count
    assert portrait.mattes is not None
    for index in (0, 11, 29):
        labels = small_clip.labels[index]
        expected = backdrop(small_clip.frames[index], labels, small_clip.plate)
        error = portrait.backdrops[index].astype(float) - expected
        assert 10 * np.log10(255**2 / (error**2).mean()) > 30
        matte = person_matte(small_clip.frames[index], labels)
        assert np.abs(portrait.mattes[index].astype(float) - matte).mean() < 4
    np.testing.assert_array_equal(portrait.tracks.rotations, small_clip.rotations)
    np.testing.assert_array_equal(portrait.tracks.expression, small_clip.expression)


def test_mattes_are_decoded_only_where_asked_for(make: Make, tmp_path: Path) -> None:
    assert open_portrait(make({}), tmp_path, with_matte=False).mattes is None


def test_the_reference_comes_back_for_a_second_clip(make: Make, small_clip: Clip) -> None:
    again, expected = reference(make({})), small_clip.reference
    assert (again.crop, again.focal, again.lag_frames) == (expected.crop, expected.focal, expected.lag_frames)
    np.testing.assert_array_equal(again.rigid_points, expected.rigid_points)
    np.testing.assert_array_equal(again.expression_range, expected.expression_range)
    assert again.skin is not None and expected.skin is not None
    assert again.skin.digest() == expected.skin.digest()


def test_the_matte_is_the_torso_and_what_was_filled_in_under_the_head(small_clip: Clip) -> None:
    frame, labels = small_clip.frames[0], small_clip.labels[0]
    matte = person_matte(frame, labels)
    torso, filled = labels == Label.TORSO, backdrop(frame, labels, small_clip.plate)
    assert matte[torso].mean() > 240
    assert matte[labels == Label.BACKGROUND].mean() < 12
    assert matte[:20].max() == 0
    over_red = backdrop(
        np.where((labels == 0)[..., None], (200, 0, 0), frame).astype(np.uint8), labels, small_clip.plate
    )
    same = (filled == over_red).all(2)
    assert (matte[~same & ~torso] < 250).all()


def test_fewer_pictures_than_tracks_are_noticed(make: Make, small_clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    shorter = replace(
        small_clip,
        frames=small_clip.frames[:9],
        **{name: getattr(small_clip, name)[:9] for name in ("rotations", "translations", "valid", "expression")},
        landmarks=small_clip.landmarks[:9],
    )
    cut = build_portrait(shorter, tmp_path / "short", StageContext()).members
    with pytest.raises(BundleError) as caught:
        open_portrait(make({BACKDROP: cut[BACKDROP]}), tmp_path, with_matte=False)
    assert caught.value.code == "bundle_damaged"


@pytest.mark.parametrize("forged", [b"", b"ffconcat version 1.0\nfile /etc/passwd\n", b"\x00" * 5000])
def test_a_member_that_is_no_video_is_noticed(make: Make, tmp_path: Path, forged: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        open_portrait(make({BACKDROP: forged}), tmp_path, with_matte=False)
    assert caught.value.code == "bundle_damaged"


def test_forged_tracks_are_noticed(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        open_portrait(make({TRACKS: b"x" * 64}), tmp_path, with_matte=False)
    assert caught.value.code == "bundle_damaged"


def test_cancelling_leaves_no_video(small_clip: Clip, tmp_path: Path) -> None:
    folder = tmp_path / "portrait"
    folder.mkdir()
    with pytest.raises(CancelledError):
        build_portrait(small_clip, folder, StageContext(is_cancelled=lambda: True))
    assert not list(folder.glob("*.mp4*"))
