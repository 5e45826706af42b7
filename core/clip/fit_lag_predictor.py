"""Makes `data/lag_predictor.safetensors`: mouth opening from speech, for `core.clip.lag`.

Run: `python -m core.clip.fit_lag_predictor CORPUS_DIR`. The corpus' own lags are unknown, so they are found together
with the predictor: each clip's by a predictor of the others, a few times over; their median counts as no lag.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from core.clip.lag import LARGEST_LAG, LagPredictor, correlations, heard_around, measure_lag
from core.clip.speech import encode_speech, reduce_speech, speech_encoder
from core.errors import LikenessError
from core.progress import StageContext

_RIDGE = 3000.0
_ROUNDS = 4
_PART = 125


@dataclass(frozen=True)
class Speaker:
    """One clip of the corpus."""

    reduced: npt.NDArray[np.float32]
    """[n, 64] of the whole recording."""
    zero: int
    """Step of the first frame."""
    opening: npt.NDArray[np.float64]
    """[T] in standard deviations."""
    seen: npt.NDArray[np.bool_]

    def heard(self, lag: int) -> npt.NDArray[np.float64]:
        """[T, 11 * 64]."""
        return heard_around(self.reduced, self.zero, np.nonzero(self.seen)[0], lag)


def read_speaker(video: Path) -> Speaker:
    """Landmarks and speech of a clip's longest shot."""
    from core.clip.build import WORKING_SIDE, follow_face
    from core.clip.intake import ClipOptions, plan_clip
    from core.clip.landmarks import mouth_opening
    from core.media import decode_frames

    plan = plan_clip(video, ClipOptions(seconds=None), StageContext())
    pictures = decode_frames(
        video, plan.info, crop=plan.crop, size=WORKING_SIDE, start_frame=plan.start, count=plan.count
    )
    sighting = follow_face(pictures, plan.count)
    opening = mouth_opening(sighting.landmarks)
    opening = (opening - opening[sighting.seen].mean()) / opening[sighting.seen].std()
    return Speaker(reduce_speech(encode_speech(plan.audio)), 2 * plan.start, opening, sighting.seen)


def fit_ridge(speakers: list[Speaker], lags: list[int]) -> LagPredictor:
    """Ridge regression of all speakers' openings on their speech."""
    heard = np.concatenate([speaker.heard(lag) for speaker, lag in zip(speakers, lags, strict=True)])
    opening = np.concatenate([speaker.opening[speaker.seen] for speaker in speakers])
    mean = heard.mean(0)
    centred = heard - mean
    weights = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(len(mean)), centred.T @ opening)
    return LagPredictor(mean.astype(np.float32), weights.astype(np.float32))


def find_lags(speakers: list[Speaker]) -> list[int]:
    """Each speaker's lag by a predictor of the others, their median taken as zero."""
    lags = [0] * len(speakers)
    for _ in range(_ROUNDS):
        found = []
        for number, speaker in enumerate(speakers):
            others = [other for place, other in enumerate(speakers) if place != number]
            kept = [lag for place, lag in enumerate(lags) if place != number]
            best = correlations(fit_ridge(others, kept), speaker.reduced, speaker.zero, speaker.opening, speaker.seen)
            found.append(int(best.argmax()) - LARGEST_LAG)
        middle = round(float(np.median(found)))
        lags = [int(np.clip(lag - middle, -LARGEST_LAG, LARGEST_LAG)) for lag in found]
    return lags


def validate(speakers: list[Speaker], lags: list[int]) -> tuple[int, int, int, int]:
    """Five-second parts, judged by a predictor of the other speakers: parts, sure ones, of these within a frame, exact.

    The truth is what the same predictor says of the whole recording.
    """
    parts = sure = near = exact = 0
    for number, speaker in enumerate(speakers):
        others = [other for place, other in enumerate(speakers) if place != number]
        kept = [lag for place, lag in enumerate(lags) if place != number]
        predictor = fit_ridge(others, kept)
        whole = measure_lag(speaker.reduced, speaker.zero, speaker.opening, speaker.seen, predictor)
        for start in range(0, len(speaker.opening) - _PART + 1, _PART // 2):
            part = slice(start, start + _PART)
            zero = speaker.zero + 2 * start
            found = measure_lag(speaker.reduced, zero, speaker.opening[part], speaker.seen[part], predictor)
            parts += 1
            sure += found.sure
            near += found.sure and abs(found.frames - whole.frames) <= 1
            exact += found.sure and found.frames == whole.frames
    return parts, sure, near, exact


def main() -> None:
    """Fit on every usable clip of a folder and write the file that the product ships."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "lag_predictor.safetensors")
    arguments = parser.parse_args()
    speakers: list[Speaker] = []
    names: list[str] = []
    for video in sorted(arguments.corpus.glob("*.mp4")):
        try:
            speakers.append(read_speaker(video))
            names.append(video.stem)
        except LikenessError as error:
            sys.stderr.write(f"{video.name}: left out ({error.code})\n")
    lags = find_lags(speakers)
    predictor = fit_ridge(speakers, lags)
    for name, lag in zip(names, lags, strict=True):
        sys.stderr.write(f"{name}: lag {lag:+d}\n")
    parts, sure, near, exact = validate(speakers, lags)
    sys.stderr.write(f"{parts} parts of 5 s, {sure} sure, of these {near} within a frame, {exact} exact\n")
    card = {
        "features": speech_encoder().name,
        "lags": " ".join(f"{n}:{lag}" for n, lag in zip(names, lags, strict=True)),
    }
    save_file(
        {"mean": np.asarray(predictor.mean), "weights": np.asarray(predictor.weights)}, arguments.output, metadata=card
    )


if __name__ == "__main__":
    main()
