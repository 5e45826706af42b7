"""The validation table: people are left out whole, nothing is trained twice, figures are means over people."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from core.errors import UsageError
from core.learn import crossvalidation
from core.learn.corpus import Corpus, CorpusClip, read_corpus
from core.learn.crossvalidation import VARIANTS, Row, as_markdown, crossvalidate, folds, summarise
from core.learn.motion_prior import PriorSchedule
from core.progress import StageContext
from tests.core.learn.made_tracks import made_corpus, made_track

TINY = PriorSchedule(iterations=4, frames=3, points=8)


def corpus_of(frames: dict[str, int]) -> Corpus:
    clips = []
    for number, (name, count) in enumerate(frames.items()):
        track = replace(made_track(number), identity=name[:2]).part(0, count)
        clips.append(CorpusClip(name, Path(name), track, 0.0))
    return Corpus(clips, {})


def row(variant: str, seed: int, person: str, clip: str, frames: int, value: float, fold: str = "0") -> Row:
    return Row(variant, fold, seed, person, clip, frames, value, 0, 0, value, 0, 0)


def test_everyone_long_enough_is_left_out_once_with_all_their_clips() -> None:
    corpus = corpus_of({"p0": 200, "p1": 200, "p2": 200, "p3": 200, "p4": 199, "p0b": 50})
    found = folds(corpus, 2)
    assert sorted(person for fold in found for person in fold) == ["p0", "p1", "p2", "p3"]
    jobs = list(crossvalidation._jobs(corpus, None, TINY, 2, 1))
    for job in jobs:
        judged = {clip.track.identity for clip in job.judged}
        assert judged and not judged & {track.identity for track in job.learned}
    assert len(jobs) == len(found) * len(VARIANTS)


def test_a_corpus_that_can_spare_nobody_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        folds(corpus_of({"p0": 200, "p1": 100}), 2)
    assert caught.value.code == "corpus_too_small"


def test_every_variant_is_trained_and_judged_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossvalidation, "SCRATCH", replace(TINY, iterations=2))
    monkeypatch.setattr(crossvalidation, "personalise", lambda *_: None)
    corpus = read_corpus(made_corpus(tmp_path, 3), tmp_path / "run" / "tracks", StageContext())
    jobs = list(crossvalidation._jobs(corpus, None, TINY, 2, 1))
    rows = [found for job in jobs for found in crossvalidation._run(job)]
    assert {found.variant for found in rows} == set(VARIANTS)
    assert all(found.frames == 75 and found.adapted == found.zero_shot for found in rows)
    table = tmp_path / "table"
    table.mkdir()
    (table / "rows.jsonl").write_text("".join(json.dumps(asdict(found)) + "\n" for found in rows))
    monkeypatch.setattr(crossvalidation, "_run", lambda job: pytest.fail(f"{job.variant} was trained again"))
    assert crossvalidate(corpus, None, table, TINY, 2, 1, 1, StageContext()) == rows


def test_figures_are_means_over_people_and_their_spread_is_over_seeds() -> None:
    rows = [
        row("contrast", 0, "p0", "p0", 300, 0.8),
        row("contrast", 0, "p0", "p0b", 100, 0.4),  # p0: 0.7
        row("contrast", 0, "p1", "p1", 900, 0.5),  # seed 0: 0.6
        row("contrast", 1, "p0", "p0", 300, 0.8),
        row("contrast", 1, "p1", "p1", 900, 0.8),  # seed 1: 0.8
        row("scratch", 0, "p9", "p9", 301, 0.1, "outside"),
    ]
    found = summarise(rows)
    assert found["corpus"]["contrast"]["zero_shot"] == 0.7
    assert found["corpus"]["contrast"]["zero_shot_sd"] == 0.1
    assert found["outside"]["scratch"]["adapted"] == 0.1
    assert "| contrast | 0.700 ± 0.100 |" in as_markdown(found)
