"""Makes `data/lag_predictor.safetensors`: mouth opening from speech, for `core.clip.lag`.

Run: `python -m core.clip.fit_lag_predictor CORPUS_DIR [--work DIR]`. The corpus' own lags are unknown, so they are
found together with the predictor: each person's by a predictor of the others, a few times over; their median counts as
no lag. How well it does is `core.clip.lag_report`'s to say.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from core.clip.footage import Footage, identity_of, read_folder
from core.clip.lag import LARGEST_LAG, LagPredictor, correlations, heard_around
from core.clip.landmarks import mouth_opening
from core.clip.speech import speech_encoder

_RIDGE = 3000.0
_ROUNDS = 4


@dataclass(frozen=True)
class Speaker:
    """One clip of the corpus."""

    identity: str
    """Clips of one person share it."""
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


@dataclass(frozen=True)
class Moments:
    """Sums over a speaker's frames: all that ridge regression needs to know."""

    count: float
    heard: npt.NDArray[np.float64]
    """[11 * 64]"""
    squares: npt.NDArray[np.float64]
    """[11 * 64, 11 * 64]"""
    opening: float
    product: npt.NDArray[np.float64]
    """[11 * 64] of heard times opening."""


def speaker_of(name: str, footage: Footage) -> Speaker:
    """What the predictor learns from a clip called `name`."""
    opening = mouth_opening(footage.landmarks)
    opening = (opening - opening[footage.seen].mean()) / opening[footage.seen].std()
    return Speaker(identity_of(name), footage.reduced, 2 * int(footage.start), opening, footage.seen)


def moments(speaker: Speaker, lag: int) -> Moments:
    """A speaker's sums with the speech of frame f taken at f + lag."""
    heard, opening = speaker.heard(lag), speaker.opening[speaker.seen]
    return Moments(len(heard), heard.sum(0), heard.T @ heard, float(opening.sum()), heard.T @ opening)


def fit_ridge(speakers: list[Moments]) -> LagPredictor:
    """Ridge regression of all these speakers' openings on their speech."""
    count = sum(one.count for one in speakers)
    mean = np.sum([one.heard for one in speakers], 0) / count
    squares = np.sum([one.squares for one in speakers], 0) - count * np.outer(mean, mean)
    product = np.sum([one.product for one in speakers], 0) - mean * sum(one.opening for one in speakers)
    weights = np.linalg.solve(squares + _RIDGE * np.eye(len(mean)), product)
    return LagPredictor(mean.astype(np.float32), weights.astype(np.float32))


def predictors_of_others(speakers: list[Speaker], lags: list[int]) -> list[LagPredictor]:
    """For each speaker, the predictor of all clips of other people."""
    sums = [moments(speaker, lag) for speaker, lag in zip(speakers, lags, strict=True)]
    return [
        fit_ridge([one for one, other in zip(sums, speakers, strict=True) if other.identity != speaker.identity])
        for speaker in speakers
    ]


def find_lags(speakers: list[Speaker]) -> list[int]:
    """Each speaker's lag by a predictor of the others, their median taken as zero."""
    lags = [0] * len(speakers)
    for _ in range(_ROUNDS):
        found = []
        for speaker, predictor in zip(speakers, predictors_of_others(speakers, lags), strict=True):
            best = correlations(predictor, speaker.reduced, speaker.zero, speaker.opening, speaker.seen)
            found.append(int(best.argmax()) - LARGEST_LAG)
        middle = round(float(np.median(found)))
        lags = [int(np.clip(lag - middle, -LARGEST_LAG, LARGEST_LAG)) for lag in found]
    return lags


def main() -> None:
    """Fit on every usable clip of a folder and write the file that the product ships."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, help="landmarks and speech are kept here from one run to the next")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "lag_predictor.safetensors")
    arguments = parser.parse_args()
    footage = read_folder(arguments.corpus, arguments.work)
    speakers = [speaker_of(name, one) for name, one in footage.items()]
    lags = find_lags(speakers)
    predictor = fit_ridge([moments(speaker, lag) for speaker, lag in zip(speakers, lags, strict=True)])
    for name, lag in zip(footage, lags, strict=True):
        sys.stderr.write(f"{name}: lag {lag:+d}\n")
    lags_by_name = " ".join(f"{n}:{lag}" for n, lag in zip(footage, lags, strict=True))
    card = {"features": speech_encoder().name, "lags": lags_by_name}
    save_file(
        {"mean": np.asarray(predictor.mean), "weights": np.asarray(predictor.weights)}, arguments.output, metadata=card
    )


if __name__ == "__main__":
    main()
