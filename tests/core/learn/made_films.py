"""The generated person as prepared clips, straight from its truth: pictures, labels and poses without any detector.

What is heard is the jaw's own track, so that speech tells the motion and nothing has to be encoded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from core.camera import Camera
from core.clip.layout import SPEECH_MARGIN, Clip, Reference
from core.learn.filmed import Filmed, open_filmed
from core.learn.motion_track import MotionTrack
from core.media import decode_frames, probe
from core.sample import Sample
from tests.core.learn.made_tracks import made_track

SIZE = 96


def made_clip(sample: Sample, folder: Path) -> Clip:
    """All frames of the sample at 96 pixels, written as a Clip folder."""
    folder.mkdir(parents=True)
    with np.load(sample.truth, allow_pickle=False) as file:
        truth = {name: file[name] for name in file.files}
    scale, count = SIZE / float(truth["size"]), len(truth["labels"])
    pictures = decode_frames(sample.video, probe(sample.video), crop=None, size=SIZE)
    labels = [cv2.resize(mine, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) for mine in truth["labels"]]
    np.save(folder / "frames.npy", np.stack(list(pictures))[:count])
    np.save(folder / "labels.npy", np.stack(labels).astype(np.uint8))
    landmarks = np.zeros((count, 478, 3), np.float32)
    seen = truth["landmarks"]
    landmarks[:, : seen.shape[1], : seen.shape[2]] = seen[:, :478, :3] * scale
    clip = Clip(
        folder=folder,
        camera=Camera.centred(float(truth["focal"]) * scale, SIZE),
        reference=Reference((0, 0, SIZE), float(truth["focal"]), np.zeros((3, 3)), 0, None),
        frames=np.load(folder / "frames.npy"),
        labels=np.load(folder / "labels.npy"),
        plate=cv2.resize(truth["plate"], (SIZE, SIZE)),
        landmarks=landmarks,
        rotations=truth["rotations"],
        translations=truth["translations"],
        valid=np.ones(count, bool),
        expression=np.zeros((count, 6), np.float32),
        speech=np.zeros((2 * count + 2 * SPEECH_MARGIN, 384), np.float32),
        speech_zero=SPEECH_MARGIN,
        start_frame=0,
        voice=np.ones(count, np.float32),
        speech_features="whisper-tiny.en-encoder-2s",
    )
    clip.save()
    return clip


def heard_jaw(sample: Sample, identity: str) -> MotionTrack:
    """A track of the sample whose speech's first number is the jaw."""
    with np.load(sample.truth, allow_pickle=False) as file:
        jaw = np.asarray(file["jaw"], np.float32)
    speech = np.zeros((2 * len(jaw) + 2 * SPEECH_MARGIN, 64), np.float32)
    speech[SPEECH_MARGIN : SPEECH_MARGIN + 2 * len(jaw), 0] = np.repeat((jaw - jaw.mean()) / jaw.std(), 2)
    return replace(made_track(0), identity=identity, speech=speech, frames=np.arange(len(jaw)))


def made_films(sample: Sample, root: Path, parts: dict[str, slice]) -> list[Filmed]:
    """Some people, who all look like the generated one: each has the given part of the frames."""
    films = []
    for identity, part in parts.items():
        clip = made_clip(sample, root / identity)
        kept = np.zeros(clip.count, bool)
        kept[part] = True
        replace(clip, valid=kept).save()
        films.append(open_filmed(identity, root / identity, heard_jaw(sample, identity)))
    return films
