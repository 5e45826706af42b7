"""Pictures on disk: the same crops as from memory, no map left open, and clips that can't be used are remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.clip.layout import Clip
from core.errors import InputRefusedError
from core.learn import filmed
from core.learn.corpus import Corpus, CorpusClip
from core.learn.filmed import OnDisk, filmed_corpus, open_filmed, prepare_pictures
from core.learn.training_set import training_set
from core.progress import StageContext
from tests.core.learn.made_tracks import made_track


def test_a_mapped_clip_gives_what_a_loaded_one_gives(small_clip: Clip) -> None:
    valid = small_clip.valid.copy()
    valid[[3, 4, 17]] = False
    loaded = training_set(replace(small_clip, valid=valid))
    replace(small_clip, valid=valid).save()
    mapped = open_filmed("a", small_clip.folder, made_track(0)).data
    small_clip.save()
    assert mapped.count == loaded.count == small_clip.count - 3
    assert (mapped.head_boxes, mapped.lip_boxes) == (loaded.head_boxes, loaded.lip_boxes)
    assert mapped.mouth_area.tolist() == loaded.mouth_area.tolist()
    assert torch.equal(mapped.poses, loaded.poses) and torch.equal(mapped.expression, loaded.expression)
    for index in (0, 5, 20):
        for box in (mapped.head_boxes[index], mapped.lip_boxes[index]):
            (one, labels), (other, expected) = mapped.crop(index, box), loaded.crop(index, box)
            assert torch.equal(one, other) and np.array_equal(labels, expected)


def test_windows_are_those_of_the_learnable_frames(small_clip: Clip) -> None:
    valid = small_clip.valid.copy()
    valid[:4] = False
    replace(small_clip, valid=valid).save()
    track = made_track(1)
    data = open_filmed("a", small_clip.folder, track).data
    small_clip.save()
    assert torch.equal(data.windows[2], track.heard(np.array([6]))[0])


def test_a_picture_is_mapped_only_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npy"
    pictures = np.random.default_rng(0).integers(0, 255, (7, 16, 16, 3), np.uint8)
    np.save(path, pictures)
    rows = np.array([1, 4, 6])
    disk = OnDisk(path, rows)
    assert len(disk) == 3 and np.array_equal(np.stack(list(disk)), pictures[rows])
    assert np.array_equal(disk[1, 2:9, 3:5], pictures[4, 2:9, 3:5])
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(path) not in maps.read_text()


def corpus_of(root: Path) -> Corpus:
    tracks = {name: replace(made_track(0), identity=name) for name in ("good", "poor")}
    return Corpus([CorpusClip(name, root / f"{name}.mp4", track, 8.0) for name, track in tracks.items()], {})


def test_what_is_refused_is_asked_once_and_left_out(
    small_clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build(video: Path, folder: Path, *_: object) -> None:
        asked.append(video.stem)
        if video.stem == "poor":
            raise InputRefusedError("face_too_small", "Too small.", "Come closer.")
        folder.symlink_to(small_clip.folder)

    monkeypatch.setattr(filmed, "build_clip", build)
    corpus, folder = corpus_of(tmp_path), tmp_path / "pictures"
    for _ in range(2):
        assert prepare_pictures(corpus, folder, StageContext()) == {"poor": "face_too_small"}
    assert asked == ["good", "poor"]
    assert [clip.name for clip in filmed_corpus(corpus, folder, ["good", "poor"])] == ["good"]
    assert filmed_corpus(corpus, folder, ["poor"]) == []


def test_a_corpus_of_refused_clips_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> None:
        raise InputRefusedError("no_face", "No face.", "Show one.")

    monkeypatch.setattr(filmed, "build_clip", build)
    with pytest.raises(InputRefusedError) as caught:
        prepare_pictures(corpus_of(tmp_path), tmp_path / "pictures", StageContext())
    assert caught.value.code == "corpus_refused"
