"""How far the audio-video lag can be trusted: the figures of docs/clip.md.

Run: `python -m core.clip.lag_report CORPUS_DIR [--others DIR] [--work DIR] [--json]`. Each clip of the corpus is judged
by a predictor of the other people in it, those of `--others` by the predictor that ships. Three questions: does a part
say what the whole says; does the answer follow when the sound is moved on purpose; is a stranger's voice told apart?
Measures; decides nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.clip.build import clip_speech
from core.clip.fit_lag_predictor import Speaker, find_lags, predictors_of_others, speaker_of
from core.clip.footage import Footage, markdown_table, read_folder
from core.clip.intake import FRAME_SAMPLES
from core.clip.lag import LARGEST_LAG, Lag, LagPredictor, correlations, measure_lag, shipped_predictor
from core.clip.layout import SPEECH_MARGIN
from core.clip.speech import reduce_speech

PART = 125
"""Frames: 5 s."""
SHIFTS = (-8, -6, -4, -2, 2, 4, 6, 8)
_SHIFTED = 250
"""Frames that the sound is moved for, at most."""
_NEAR = 1


@dataclass(frozen=True)
class Judged:
    """A clip and the predictor that may judge it."""

    footage: Footage
    speaker: Speaker
    predictor: LagPredictor


def main() -> None:
    """Print a table for each question, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--others", type=Path, help="clips of people whom the shipped predictor does not know")
    parser.add_argument("--work", type=Path, help="landmarks and speech are kept here from one run to the next")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    footage = read_folder(arguments.corpus, arguments.work)
    speakers = [speaker_of(name, one) for name, one in footage.items()]
    predictors = predictors_of_others(speakers, find_lags(speakers))
    clips = {
        name: Judged(one, speaker, predictor)
        for (name, one), speaker, predictor in zip(footage.items(), speakers, predictors, strict=True)
    }
    if arguments.others:
        for name, one in read_folder(arguments.others, arguments.work).items():
            clips[name] = Judged(one, speaker_of(name, one), shipped_predictor())
    tables = {
        "parts": {name: parts_figures(clip) for name, clip in clips.items()},
        "shifts": {name: shift_figures(clip) for name, clip in clips.items()},
        "voices": voices_figures(clips),
    }
    if arguments.json:
        sys.stdout.write(json.dumps(tables, indent=1) + "\n")
        return
    for rows in tables.values():
        sys.stdout.write(markdown_table(rows, ""))


def parts_figures(clip: Judged) -> dict[str, float]:
    """The whole clip against its parts of 5 s, each heard and seen alone.

    Returns:
        `lag` and `correlation` of the whole, `correlation_before` and `correlation_after` one frame to either side;
        `first` lag of the first 5 s and `first_sure`; `parts`, `sure` ones, `near` (of the sure ones, within a frame of
        the whole) and `exact`.
    """
    whole = _own(clip, slice(0, len(clip.speaker.seen)))
    around = _correlation_around(clip, whole.frames)
    found = []
    for start in range(0, len(clip.speaker.seen) - PART + 1, PART // 2):
        found.append(_alone(clip, start, PART, 0))
    sure = [one for one in found if one.sure]
    return {
        "lag": whole.frames,
        "correlation_before": round(around[0], 3),
        "correlation": round(whole.correlation, 3),
        "correlation_after": round(around[1], 3),
        "first": found[0].frames,
        "first_sure": int(found[0].sure),
        "parts": len(found),
        "sure": len(sure),
        "near": sum(abs(one.frames - whole.frames) <= _NEAR for one in sure),
        "exact": sum(one.frames == whole.frames for one in sure),
    }


def shift_figures(clip: Judged) -> dict[str, float]:
    """Lags found in the first 10 s after the sound was moved later by each of `SHIFTS`, less the lag found unmoved.

    Returns:
        for each shift what the answer moved by, and `near`, how many of them did so within a frame.
    """
    count = min(_SHIFTED, len(clip.speaker.seen))
    unmoved = _alone(clip, 0, count, 0).frames
    moved = {shift: _alone(clip, 0, count, shift).frames - unmoved for shift in SHIFTS}
    near = sum(abs(found - shift) <= _NEAR for shift, found in moved.items())
    return {**{f"{shift:+d}": float(found) for shift, found in moved.items()}, "near": near}


def voices_figures(clips: dict[str, Judged]) -> dict[str, dict[str, float]]:
    """How often the measurement is sure when the lips are one person's and the voice is their own or a stranger's.

    Returns:
        rows `own` and `stranger`: `pairs`, and the share of them that is sure: in the first 5 s, in all that both have.
    """
    counts = {"own": np.zeros(3), "stranger": np.zeros(3)}
    for lips in clips.values():
        for voice in clips.values():
            own = lips is voice
            if not own and lips.speaker.identity == voice.speaker.identity:
                continue
            length = min(len(lips.speaker.seen), len(voice.speaker.seen))
            short = _heard_from(lips, voice, PART).sure
            counts["own" if own else "stranger"] += [1, short, _heard_from(lips, voice, length).sure]
    return {
        name: {"pairs": pairs, "sure_5s": round(short / pairs, 3), "sure_all": round(whole / pairs, 3)}
        for name, (pairs, short, whole) in counts.items()
    }


def _own(clip: Judged, part: slice) -> Lag:
    speaker = clip.speaker
    zero = speaker.zero + 2 * part.start
    return measure_lag(speaker.reduced, zero, speaker.opening[part], speaker.seen[part], clip.predictor)


def _heard_from(lips: Judged, voice: Judged, length: int) -> Lag:
    seen, other = lips.speaker, voice.speaker
    return measure_lag(other.reduced, other.zero, seen.opening[:length], seen.seen[:length], lips.predictor)


def _alone(clip: Judged, start: int, count: int, shift: int) -> Lag:
    """A part of a clip with no more sound than its own, moved later by `shift` frames."""
    first = (int(clip.footage.start) + start - shift) * FRAME_SAMPLES
    audio = np.pad(
        clip.footage.audio, (max(0, -first), max(0, first + count * FRAME_SAMPLES - len(clip.footage.audio)))
    )
    first = max(first, 0)
    sound = audio[first : first + count * FRAME_SAMPLES]
    reduced = reduce_speech(clip_speech(sound, 0, count))
    part = slice(start, start + count)
    return measure_lag(reduced, SPEECH_MARGIN, clip.speaker.opening[part], clip.speaker.seen[part], clip.predictor)


def _correlation_around(clip: Judged, lag: int) -> tuple[float, float]:
    """Correlation one frame before and one after a lag."""
    speaker = clip.speaker
    found = correlations(clip.predictor, speaker.reduced, speaker.zero, speaker.opening, speaker.seen)
    place = int(np.clip(lag + LARGEST_LAG, 1, len(found) - 2))
    return float(found[place - 1]), float(found[place + 1])


if __name__ == "__main__":
    main()
