"""A small synthetic Clip and its bundle, which several rooms' tests share: a drawn head over a torso, moving."""

from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.avatar import Avatar, FaceField, Gaussians, MouthField
from core.bundle import package_avatar
from core.camera import Camera
from core.clip.layout import SPEECH_MARGIN, Clip, Label, Reference
from core.clip.skin import Skin
from core.progress import StageContext

SIZE, FRAMES = 64, 30


def picture_and_labels(index: int) -> tuple[np.ndarray, np.ndarray]:
    wall = np.full((SIZE, SIZE, 3), (60, 90, 120), np.uint8)
    wall[:, :, 0] += np.arange(SIZE, dtype=np.uint8)
    picture, labels = wall.copy(), np.zeros((SIZE, SIZE), np.uint8)
    shift = round(3 * np.sin(index / 5))
    parts = [
        (Label.TORSO, (32 + shift, 66), (26, 22), (150, 40, 40)),
        (Label.HAIR, (32 + shift, 28), (17, 20), (60, 40, 30)),
        (Label.SKIN, (32 + shift, 31), (14, 17), (210, 160, 130)),
        (Label.LIPS, (32 + shift, 39), (6, 3), (180, 80, 80)),
        (Label.MOUTH, (32 + shift, 39), (4, 1 + index % 2), (70, 20, 20)),
    ]
    for label, centre, axes, colour in parts:
        cv2.ellipse(labels, centre, axes, 0, 0, 360, int(label), -1)
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1)
    return picture, labels


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """30 frames of 64x64 with their labels, and half a second of sound; landmarks stand where the lips are."""
    folder = tmp_path_factory.mktemp("clip")
    pictures, labels = zip(*(picture_and_labels(index) for index in range(FRAMES)), strict=True)
    generator = np.random.default_rng(0)
    np.save(folder / "frames.npy", np.stack(pictures))
    np.save(folder / "labels.npy", np.stack(labels))
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((3000 * np.sin(np.arange(FRAMES * 640) / 12)).astype("<i2").tobytes())
    turns = [cv2.Rodrigues(np.array([np.pi, 0.1 * np.sin(k / 7), 0]))[0] for k in range(FRAMES)]
    clip = Clip(
        folder=folder,
        camera=Camera.centred(110.0, SIZE),
        reference=Reference(
            (4, -2, 500),
            880.0,
            generator.normal(0, 0.05, (9, 3)),
            1,
            np.stack([np.zeros(6), np.ones(6)]),
            Skin(generator.normal(0, 0.05, (8, 3)), *generator.random((2, 8)).astype(np.float32)),
        ),
        frames=np.stack(pictures),
        labels=np.stack(labels),
        plate=picture_and_labels(0)[0] * 0 + np.array([60, 90, 120], np.uint8),
        landmarks=(generator.normal(32, 6, (FRAMES, 478, 3))).astype(np.float32),
        rotations=np.stack(turns),
        translations=np.tile([0.0, 0.0, 0.5], (FRAMES, 1)),
        valid=np.ones(FRAMES, bool),
        expression=generator.random((FRAMES, 6)).astype(np.float32),
        speech=generator.normal(size=(2 * FRAMES + 2 * SPEECH_MARGIN, 384)).astype(np.float32),
        speech_zero=SPEECH_MARGIN,
        start_frame=7,
        voice=np.ones(FRAMES, np.float32),
        speech_features="whisper-tiny.en-encoder-2s",
    )
    clip.save()
    return clip


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory, small_clip: Clip) -> Path:
    """A whole bundle of `small_clip` with an untrained avatar: a cloud of coloured Gaussians where the head is."""
    torch.manual_seed(0)
    points = torch.randn(300, 3) * 0.02
    face = Gaussians.at(points, torch.rand(300, 3), torch.full((300,), 0.006), 0.8).frozen()
    mouth = Gaussians.at(points[:40] * 0.3, torch.rand(40, 3), torch.full((40,), 0.003), 0.5).frozen()
    avatar = Avatar(face, FaceField(), mouth, MouthField())
    path = tmp_path_factory.mktemp("bundle") / "b.likeness"
    package_avatar(path, avatar, small_clip, "draft", "none", StageContext())
    return path
