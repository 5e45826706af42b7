"""The generated sample as files: a talking clip with its truth, and two speeches to drive an avatar with.

Files of a finished folder: `sample.mp4`, `truth.npz`, `speech_a.wav`, `speech_b.wav`, `speech_a.npz`, `speech_b.npz`
and `sample.json`, written last. docs/sample.md lists what the truth holds.
"""

from __future__ import annotations

import json
import wave
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.canonical import canonical_face
from core.clip.landmarks import LIPS_OUTER, Landmarker
from core.errors import LikenessError
from core.media import VideoWriter
from core.sample.articulation import Articulation, articulate
from core.sample.expression import Face
from core.sample.geometry import build_head, project
from core.sample.motion import NECK_BASE, Motion, move
from core.sample.phones import SPEECH_A, SPEECH_B, TALK, TimedPhone, speak
from core.sample.portrait import load_portrait, original_crop, regions
from core.sample.renderer import LOWER_LIP, UPPER_LIP, Frame, Pose, Renderer
from core.sample.voice import RATE, Voice, synthesise

VERSION = 2
"""Raised whenever a sample of the same arguments would come out different."""
TALKER = Voice(pitch=205.0, tract=1.0)
DRIVERS = {
    "a": (SPEECH_A, Voice(pitch=118.0, tract=0.86, breath=0.02)),
    "b": (SPEECH_B, Voice(pitch=238.0, tract=1.05)),
}
LEAD = 0.4
"""Seconds of silence before the first sound."""
GRAIN = 1.5 / 255


@dataclass(frozen=True)
class Sample:
    """A finished sample's files."""

    folder: Path
    video: Path
    """H.264 + AAC, 25 fps, square."""
    truth: Path
    """What is true of every frame; see docs/sample.md."""
    speech_a: Path
    """About 7 s of a low voice, 24 kHz mono."""
    speech_b: Path
    """About 4.5 s of a high voice."""
    speech_a_truth: Path
    speech_b_truth: Path

    @staticmethod
    def at(folder: Path) -> Sample:
        """The files' places in `folder`, there or not."""
        return Sample(
            folder,
            folder / "sample.mp4",
            folder / "truth.npz",
            folder / "speech_a.wav",
            folder / "speech_b.wav",
            folder / "speech_a.npz",
            folder / "speech_b.npz",
        )


@lru_cache(maxsize=2)
def prepare(size: int, seed: int) -> Renderer:
    """The portrait, measured and cut up, ready to be drawn.

    Raises:
        MissingModelError: the landmark model is not on this machine.
    """
    with Landmarker() as landmarker:
        faces = landmarker.detect(original_crop())
    if not faces:
        raise LikenessError("sample_face_not_found", "The landmark model did not find the portrait's face.")
    portrait = load_portrait(faces[0].landmarks.astype(np.float64), size, seed)
    head = build_head(portrait.landmarks, canonical_face().vertices, portrait.head_alpha, size)
    return Renderer(portrait, head, regions(portrait, portrait.landmarks[list(LIPS_OUTER), :2]))


def _write_sound(path: Path, signal: npt.NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes())


def _track_arrays(track: list[TimedPhone]) -> dict[str, Any]:
    return {
        "phone_names": np.array([item.name for item in track]),
        "phone_starts": np.array([item.start for item in track]),
        "phone_ends": np.array([item.end for item in track]),
        "phone_stressed": np.array([item.stressed for item in track]),
    }


def _face(mouth: Articulation, frame: int, motion: Motion | None = None) -> Face:
    jaw, part, wide = float(mouth.jaw[frame]), float(mouth.part[frame]), float(mouth.wide[frame])
    if motion is None:
        return Face(jaw, part, wide, 0.0, 0.0)
    gaze = (float(motion.gaze[frame, 0]), float(motion.gaze[frame, 1]))
    return Face(jaw, part, wide, float(motion.brow[frame]), float(motion.blink[frame]), gaze)


def _write_speech(folder: Path, name: str, renderer: Renderer, fps: int, seed: int) -> None:
    sentences, voice = DRIVERS[name]
    track = speak(sentences, None, 0.25, 1.05, seed + 100)
    _write_sound(folder / f"speech_{name}.wav", synthesise(track, voice, seed + 100))
    count = int(track[-1].end * fps)
    mouth = articulate(track).at((np.arange(count) + 0.5) / fps)
    head = renderer.head
    metres, pixels = np.zeros(count), np.zeros(count)
    for frame in range(count):
        points = renderer.landmarks_of(_face(mouth, frame))[[UPPER_LIP, LOWER_LIP]]
        metres[frame] = np.linalg.norm(points[0] - points[1])
        seen = project(points, head.rotation, head.translation, head.camera)
        pixels[frame] = np.linalg.norm(seen[0] - seen[1])
    np.savez_compressed(
        folder / f"speech_{name}.npz", fps=fps, mouth_opening_m=metres, mouth_opening_px=pixels, jaw=mouth.jaw,
        part=mouth.part, wide=mouth.wide, **_track_arrays(track),
    )  # fmt: skip


def _pose(renderer: Renderer, motion: Motion, frame: int) -> Pose:
    head, turn = renderer.head, motion.turns[frame]
    pivot = head.translation + np.array(NECK_BASE)
    translation = turn @ (head.translation - pivot) + pivot + motion.shifts[frame]
    return Pose(turn @ head.rotation, translation, (float(motion.sways[frame, 0]), float(motion.sways[frame, 1])))


def _ignore(fraction: float) -> None:
    del fraction


class _Grain:
    """Film grain: a few noise fields, shifted at random for each frame."""

    def __init__(self, size: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 2])
        tone = self._rng.standard_normal((size, size, 1)).astype(np.float32)
        colour = self._rng.standard_normal((size, size, 3)).astype(np.float32)
        self._field = GRAIN * (tone + 0.35 * colour)

    def on(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        rows, columns = self._rng.integers(0, picture.shape[0], 2)
        grain = np.roll(self._field, (int(rows), int(columns)), (0, 1))
        if self._rng.random() < 0.5:
            grain = grain[::-1]
        return np.asarray(np.clip((picture + grain) * 255 + 0.5, 0, 255), np.uint8)


def _drawn(renderer: Renderer, faces: list[Face], poses: list[Pose]) -> Iterator[Frame]:
    """Frames in order, two at work at a time: most of a frame is spent in OpenCV, which lets other threads run."""
    yield renderer.render(faces[0], poses[0])
    waiting: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for face, pose in zip(faces[1:], poses[1:], strict=True):
            waiting.append(pool.submit(renderer.render, face, pose))
            if len(waiting) > 3:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_clip(
    sample: Sample, renderer: Renderer, seconds: float, fps: int, seed: int, report: Callable[[float], None]
) -> None:
    track = speak(TALK, seconds, LEAD, 1.0, seed)
    count = round(seconds * fps)
    motion = move(track, count, fps, seed)
    times = (np.arange(count) + 0.5) / fps
    mouth = articulate(track).at(times)
    size = renderer.size
    sound = sample.folder / "sample.wav"
    _write_sound(sound, synthesise(track, TALKER, seed))
    labels = np.zeros((count, size, size), np.uint8)
    landmarks, points = np.zeros((count, 478, 2), np.float32), np.zeros((count, 478, 3), np.float32)
    rotations, translations = np.zeros((count, 3, 3)), np.zeros((count, 3))
    grain = _Grain(size, seed)
    faces = [_face(mouth, frame, motion) for frame in range(count)]
    poses = [_pose(renderer, motion, frame) for frame in range(count)]
    with VideoWriter(sample.video, size, size, fps=fps, crf=15, preset="veryfast", audio=sound) as writer:
        for frame, (pose, drawn) in enumerate(zip(poses, _drawn(renderer, faces, poses), strict=True)):
            writer.write(grain.on(drawn.picture))
            labels[frame], landmarks[frame], points[frame] = drawn.labels, drawn.landmarks, drawn.points
            rotations[frame], translations[frame] = pose.rotation, pose.translation
            report((frame + 1) / count)
    sound.unlink()
    lips = (UPPER_LIP, LOWER_LIP)
    np.savez_compressed(
        sample.truth,
        fps=fps,
        size=size,
        focal=renderer.head.camera.fx,
        rotations=rotations,
        translations=translations,
        mouth_opening_px=np.linalg.norm(landmarks[:, lips[0]] - landmarks[:, lips[1]], axis=1),
        mouth_opening_m=np.linalg.norm(points[:, lips[0]] - points[:, lips[1]], axis=1),
        blink=motion.blink,
        brow=motion.brow,
        jaw=mouth.jaw,
        part=mouth.part,
        wide=mouth.wide,
        labels=labels,
        landmarks=landmarks,
        points=points,
        plate=np.round(renderer.portrait.plate * 255).astype(np.uint8),
        times=times,
        **_track_arrays(track),
    )


def generate_sample(
    folder: Path,
    *,
    seconds: float = 14.0,
    size: int = 512,
    fps: int = 25,
    seed: int = 0,
    report: Callable[[float], None] | None = None,
) -> Sample:
    """Make the sample in `folder`, or find it there.

    Args:
        folder: created where it is missing. Does nothing where it holds a finished sample of the same arguments.
        seconds: length of the clip, at least 2.
        size: side of the square frames in pixels, even, 128..512.
        fps: frames a second.
        seed: of timing, motion, voice and grain; the same seed gives the same frames and sound.
        report: told the fraction done, 0..1.

    Raises:
        MissingModelError: the landmark model is not on this machine.
        ValueError: an argument is out of its range.
    """
    if seconds < 2 or not 128 <= size <= 512 or size % 2:
        raise ValueError("a sample is at least 2 s long and 128 to 512 pixels wide, an even number")
    sample = Sample.at(folder)
    marker = folder / "sample.json"
    made = {"version": VERSION, "seconds": seconds, "size": size, "fps": fps, "seed": seed}
    if marker.is_file() and json.loads(marker.read_text()) == made:
        return sample
    folder.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    renderer = prepare(size, seed)
    for name in DRIVERS:
        _write_speech(folder, name, renderer, fps, seed)
    _write_clip(sample, renderer, seconds, fps, seed, report or _ignore)
    marker.write_text(json.dumps(made))
    return sample
