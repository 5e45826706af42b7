"""A whole pre-training on made tracks: a field that adaptation can use, its card, its curves, its own work folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.errors import UsageError
from core.learn.photometric import PhotometricSchedule
from core.learn.pretraining import pretrain
from core.learn.umf import find_umf
from core.pipeline import PretrainOptions, pretrain_stage
from core.progress import StageContext
from core.sample import Sample
from tests.core.learn.made_films import made_clip
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


def test_with_pictures_it_leaves_a_mouth_field_everyones_portrait_and_rates(sample: Sample, tmp_path: Path) -> None:
    corpus, run, output = made_corpus(tmp_path, 2), tmp_path / "run", tmp_path / "both.safetensors"
    for name in ("p0", "p1"):
        made_clip(sample, run / "pictures" / name)
    pictures = PhotometricSchedule(face=4, mouth=6, surface_points=200, shell_points=50, mouth_points=60)
    stages: set[str] = set()
    context = StageContext(on_progress=lambda stage, _: stages.add(stage))
    report = pretrain(corpus, output, run, TINY, 0, context, photometric=pictures)
    assert stages == {"corpus", "pictures", "prior", "face", "mouth"}
    rates = report["iterations_per_s"]
    assert isinstance(rates, dict) and set(rates) == {"prior", "face", "mouth"} and all(rates.values())
    umf = find_umf(str(output))
    assert umf is not None and umf.card.photometric == {"face": 0, "mouth": 6}  # the face was only watched
    assert umf.mouth_field() is not None
    landmarks_only = tmp_path / "face.safetensors"
    pretrain(corpus, landmarks_only, made_run(tmp_path, run), TINY, 0, StageContext())
    alone = find_umf(str(landmarks_only))
    assert alone is not None and alone.mouth_field() is None
    assert torch.equal(alone.face_field().grid.table, umf.face_field().grid.table)
    assert sorted(path.name for path in (run / "portraits").iterdir()) == ["p0.png", "p1.png"]
    assert "iterations_per_s" in (run / "curves-mouth.svg").read_text()


def made_run(root: Path, other: Path) -> Path:
    """A work folder with the tracks of another."""
    shutil.copytree(other / "tracks", root / "again" / "tracks")
    return root / "again"


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
