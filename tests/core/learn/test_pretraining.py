"""A whole pre-training on made tracks: a field that adaptation can use, its card, its curves, its own work folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UsageError
from core.learn.pretraining import pretrain
from core.learn.umf import find_umf
from core.pipeline import PretrainOptions, pretrain_stage
from core.progress import StageContext
from tests.core.learn.made_tracks import made_corpus
from tests.core.learn.test_motion_prior import SHORT

TINY = replace(SHORT, iterations=25)


def test_a_run_leaves_field_card_curves_and_reports(tmp_path: Path) -> None:
    corpus, told, stages = made_corpus(tmp_path, 3), [], set()
    context = StageContext(on_progress=lambda stage, _: stages.add(stage))
    output = tmp_path / "mine.safetensors"
    report = pretrain(corpus, output, tmp_path / "run", TINY, 0, context, announce=told.append)
    assert [len(found["identities"]) for found in told] == [3]  # before anything is learned
    assert stages == {"corpus", "prior"}
    umf = find_umf(str(output))
    assert umf is not None and umf.card.corpus == {"p0": 8.0, "p1": 8.0, "p2": 8.0}
    umf.face_field()
    assert json.loads((tmp_path / "run" / "corpus.json").read_text()) == told[0]
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    assert "loss" in (tmp_path / "run" / "curves.svg").read_text()
    with pytest.raises(UsageError) as caught:
        pretrain(corpus, output, tmp_path / "run", TINY, 1, StageContext())  # another seed
    assert caught.value.code == "workdir_of_another_run"


def test_the_platforms_two_stages_make_the_same_field_as_one_run(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    options = PretrainOptions(iterations=10, seed=3)
    made_corpus(one, 2)
    corpus = made_corpus(two, 2)
    schedule = replace(type(TINY)(), iterations=10)
    pretrain(one / "clips", one / "field.safetensors", one / "run", schedule, 3, StageContext())
    first = pretrain_stage("corpus", corpus, two / "run", two / "field.safetensors", options, StageContext())
    assert first == {"clips": 2, "refused": {}}
    second = pretrain_stage("prior", corpus, two / "run", two / "field.safetensors", options, StageContext())
    assert "umf" not in second and second["clips"] == 2
    assert (one / "field.safetensors").read_bytes() == (two / "field.safetensors").read_bytes()
