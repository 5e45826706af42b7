"""Prints the labels' figures of docs/clip.md: `python -m tests.core.clip.measure_parsing FOLDER [VIDEO...]`.

FOLDER receives the generated sample (5 s, 512 x 512), whose labels are known; of each VIDEO the first 4 s of its best
shot are parsed, and how much the labels flicker is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from core.clip.face_frame import similarity
from core.clip.intake import ClipOptions, plan_clip
from core.clip.landmarks import Landmarker
from core.clip.layout import HEAD_LABELS, Label
from core.clip.parsing import KEY_FRAMES, fit_parsing, parse_film
from core.clip.person import PersonSegmenter
from core.media import decode_frames
from core.progress import StageContext
from core.sample import generate_sample

OPEN_PX = 3.0
"""At 512: the mouth counts as open where its true opening is more than this."""


def overlap(found: np.ndarray, true: np.ndarray, labels: Iterable[int]) -> float:
    """Intersection over union of a group of labels, pooled over all frames [T, S, S]."""
    one, other = np.isin(found, list(labels)), np.isin(true, list(labels))
    return float((one & other).sum() / max(1, (one | other).sum()))


def flicker(labels: np.ndarray, landmarks: np.ndarray) -> float:
    """Share of the head's pixels whose class (background, hair, face, torso) is another in the next frame [T, S, S].

    The face's turn, scale and shift in the picture are taken out first, so what is left is flicker, hair that swings,
    and what comes into sight as the head turns.
    """
    folded = np.array([0, 1, 2, 2, 2, 5], np.uint8)[labels]
    changed = total = 0
    for one, other, here, there in zip(folded, folded[1:], landmarks, landmarks[1:], strict=False):
        moved = cv2.warpAffine(
            other, similarity(there, here), one.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        head = (one == 1) | (one == 2) | (moved == 1) | (moved == 2)
        changed, total = changed + ((one != moved) & head).sum(), total + head.sum()
    return float(changed / total)


def parsed(video: Path, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels [T, 512, 512] and landmarks [T, 478, 3] of a video's first seconds, as a clip has them."""
    plan = plan_clip(video, ClipOptions(seconds=seconds), StageContext())
    stream = decode_frames(plan.video, plan.info, crop=plan.crop, size=512, start_frame=plan.start, count=plan.count)
    frames = np.stack(list(stream))
    landmarks = np.zeros((len(frames), 478, 3), np.float32)
    with Landmarker(tracking=True) as landmarker:
        for number, frame in enumerate(frames):
            faces = landmarker.detect(frame)
            landmarks[number] = faces[0].landmarks if faces else landmarks[max(0, number - 1)]
    keys = np.linspace(0, len(frames) - 1, min(KEY_FRAMES, len(frames))).round().astype(int)
    segmenter = PersonSegmenter()
    model = fit_parsing([frames[key] for key in keys], [landmarks[key] for key in keys], segmenter)
    return np.stack(list(parse_film(model, frames, landmarks, range(len(frames)), segmenter))), landmarks


def against_truth(found: np.ndarray, truth: np.lib.npyio.NpzFile) -> dict[str, float]:
    """Intersection over union with the sample's truth, by part of the picture."""
    true = truth["labels"]
    is_open = truth["mouth_opening_px"] * (512 / true.shape[1]) > OPEN_PX
    scores = {"head": overlap(found, true, HEAD_LABELS)}
    scores |= {label.name.lower(): overlap(found, true, [label]) for label in Label}
    scores["mouth, open frames"] = overlap(found[is_open], true[is_open], [Label.MOUTH])
    scores["lips, open frames"] = overlap(found[is_open], true[is_open], [Label.LIPS])
    shut = found[truth["mouth_opening_px"] * (512 / true.shape[1]) < 1]
    scores["mouth pixels in a shut mouth"] = float((shut == Label.MOUTH).sum() / max(1, len(shut)))
    return scores


def main(folder: Path, videos: list[Path]) -> None:
    """Print the table."""
    sample = generate_sample(folder, seconds=5, size=512)
    labels, landmarks = parsed(sample.video, 5.0)
    for name, score in against_truth(labels, np.load(sample.truth)).items():
        print(f"sample  {name:30} {score:.3f}")
    print(f"sample  {'flicker':30} {flicker(labels, landmarks):.4f}")
    truth = np.load(sample.truth)
    print(f"sample  {'flicker of the truth':30} {flicker(truth['labels'], truth['landmarks']):.4f}")
    for video in videos:
        print(f"{video.stem:8}{'flicker':30} {flicker(*parsed(video, 4.0)):.4f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.core.clip.measure_parsing FOLDER [VIDEO...]")
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
