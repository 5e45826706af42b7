"""A corpus says who is in it before anything is learned, and reads tracks that are there already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputRefusedError, UsageError
from core.learn.corpus import clip_name, identity_of, read_corpus
from core.learn.pretraining import usable_corpus
from core.progress import StageContext
from tests.core.learn.made_tracks import made_corpus


@pytest.mark.parametrize(
    ("path", "name", "identity"),
    [
        ("id04.mp4", "id04", "id04"),
        ("id04b.mp4", "id04b", "id04"),
        ("anna.mov", "anna", "anna"),
        ("anna2c.mp4", "anna2c", "anna2"),
        ("anna/monday.mp4", "anna-monday", "anna"),
    ],
)
def test_a_letter_after_a_number_or_a_folder_says_whose_clip_it_is(path: str, name: str, identity: str) -> None:
    root = Path("corpus")
    assert (clip_name(root, root / path), identity_of(root, root / path)) == (name, identity)


def test_the_report_counts_seconds_for_each_person(tmp_path: Path) -> None:
    folder = made_corpus(tmp_path, 3)
    (folder / "p1b.mp4").touch()
    (tmp_path / "run" / "tracks" / "p1").rename(tmp_path / "run" / "tracks" / "p1b")
    (folder / "p1.mp4").unlink()
    corpus = read_corpus(folder, tmp_path / "run" / "tracks", StageContext())
    report = corpus.report()
    assert report["clips"] == 3 and report["refused"] == {}
    people = report["identities"]
    assert isinstance(people, dict) and people["p1"] == {
        "clips": ["p1b"], "seconds": 8.0, "spoken_seconds": 8.0, "lags": [0],
    }  # fmt: skip
    assert corpus.without({"p1"}).identities == ["p0", "p2"]


def test_tracks_stay_on_disk(tmp_path: Path) -> None:
    corpus = read_corpus(made_corpus(tmp_path, 1), tmp_path / "run" / "tracks", StageContext())
    assert isinstance(corpus.clips[0].track.displacement, np.memmap)
    assert isinstance(corpus.clips[0].track.speech, np.memmap)


def test_an_empty_folder_and_one_without_a_usable_clip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as empty:
        read_corpus(tmp_path, tmp_path / "tracks", StageContext())
    assert empty.value.code == "corpus_empty"
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputRefusedError) as refused:
        usable_corpus(tmp_path, tmp_path, StageContext())
    assert refused.value.code == "corpus_refused"
    assert "noise.mp4" in (tmp_path / "corpus.json").read_text()
