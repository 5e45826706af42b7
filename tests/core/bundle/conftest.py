"""A small, whole bundle made of real parts' bytes, for the tests of the container."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.bundle.file import REQUIRED, TRACKS, write_bundle
from core.bundle.manifest import Manifest, SourceFrames, SpeechFeatures, UmfReference
from core.bundle.tracks import Tracks
from core.clip.skin import Skin


def make_manifest() -> Manifest:
    return Manifest(
        id="7d3c9d0e-6c54-4d0c-9a8e-0d9f3f1f3b55",
        created="2026-11-22T20:00:00Z",
        project_version="0.1.0",
        profile="draft",
        size=256,
        fps=25,
        focal=450.0,
        reference_focal=900.0,
        crop=(-3, 12, 500),
        lag_frames=-1,
        speech=SpeechFeatures("whisper-tiny.en", 64, 50),
        source_frames=SourceFrames(0, 125),
        umf=UmfReference("base", "ab" * 32),
        consent_id="consent-1",
        licence="for its owner only",
        metrics={"psnr_f": 26.5, "lpips_f": None},
    )


def make_skin() -> Skin:
    generator = np.random.default_rng(1)
    pattern, trust = generator.random((2, 11)).astype(np.float32)
    return Skin(generator.normal(0, 0.04, (11, 3)), pattern, trust)


def make_tracks(count: int = 5) -> Tracks:
    generator = np.random.default_rng(0)
    turn, _ = np.linalg.qr(generator.normal(size=(count, 3, 3)))
    turn *= np.sign(np.linalg.det(turn))[:, None, None]
    return Tracks(
        rotations=turn,
        translations=generator.normal(size=(count, 3)),
        expression=generator.random((count, 6)).astype(np.float32),
        valid=np.ones(count, bool),
        lip_boxes=generator.random((count, 4)).astype(np.float32),
        rigid_points=generator.normal(size=(7, 3)),
        expression_range=np.stack([np.zeros(6), np.full(6, 0.5)]),
        skin=make_skin(),
    )


@pytest.fixture
def manifest() -> Manifest:
    return make_manifest()


@pytest.fixture
def tracks() -> Tracks:
    return make_tracks()


@pytest.fixture
def members() -> dict[str, Path | bytes]:
    contents: dict[str, Path | bytes] = {name: name.encode() * 50 for name in REQUIRED}
    contents[TRACKS] = make_tracks().to_bytes()
    return contents


@pytest.fixture
def bundle_file(tmp_path: Path, manifest: Manifest, members: dict[str, Path | bytes]) -> Path:
    path = tmp_path / "person.likeness"
    write_bundle(path, manifest, members)
    return path
