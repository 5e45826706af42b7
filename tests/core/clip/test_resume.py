"""A build that was cut off goes on where it stood, to the very same clip, whatever the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.clip import ClipOptions, build_clip
from core.clip.intake import Plan, plan_clip
from core.clip.landmarks import Landmarker
from core.clip.layout import WORKING_SIDE
from core.clip.picture_file import PictureFile
from core.clip.sighting import SEGMENT, Sighting
from core.clip.unfinished import Unfinished
from core.errors import CancelledError
from core.progress import StageContext
from core.sample import Sample

OPTIONS = ClipOptions(size=128, seconds=3)
COUNT = 75
"""A whole segment, and half of one."""


@dataclass
class Work:
    """How often the dear steps were taken."""

    looked: int = 0
    labelled: int = 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    done = Work()
    detect, write = Landmarker.detect, PictureFile.__setitem__

    def looking(self: Landmarker, rgb: np.ndarray) -> object:
        done.looked += 1
        return detect(self, rgb)

    def writing(self: PictureFile, number: int, picture: np.ndarray) -> None:
        done.labelled += self.path.name == "labels.npy" and self.shape[0] == WORKING_SIDE
        write(self, number, picture)

    monkeypatch.setattr(Landmarker, "detect", looking)
    monkeypatch.setattr(PictureFile, "__setitem__", writing)
    return done


@pytest.fixture(scope="module")
def plan(sample: Sample) -> Plan:
    return plan_clip(sample.video, OPTIONS, StageContext())


@dataclass(frozen=True)
class Built:
    """A clip built in one go by one thread, and what was heard of it."""

    folder: Path
    reports: list[float]
    asked: int
    """How often the cancel flag was looked at."""


@pytest.fixture(scope="module")
def whole(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("whole") / "clip"
    reports: list[float] = []
    asked: list[bool] = []

    def is_cancelled() -> bool:
        asked.append(False)
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIKENESS_THREADS", "1")
        context = StageContext(lambda stage, done: reports.append(done), is_cancelled)
        build_clip(sample.video, folder, OPTIONS, context)
    return Built(folder, reports, len(asked))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cut_off(plan: Plan, folder: Path, once: str) -> None:
    """Build until the work folder holds that file."""
    kept = folder / "unfinished" / once
    with pytest.raises(CancelledError):
        build_clip(plan.video, folder, OPTIONS, StageContext(is_cancelled=kept.exists), plan)
    assert not (folder / "clip.json").exists()


def test_goes_on_where_it_was_cut_off_to_the_same_bits(
    plan: Plan, whole: Built, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKENESS_THREADS", "2")
    folder = tmp_path / "clip"
    cut_off(plan, folder, "sighting.0.npz")
    assert work.looked >= SEGMENT and work.labelled == 0
    work.looked = 0
    cut_off(plan, folder, "labels.0.done")
    assert 0 < work.looked <= COUNT - SEGMENT + 3, "the first segment is not looked at again"
    assert work.labelled >= SEGMENT
    work.looked = work.labelled = 0
    build_clip(plan.video, folder, OPTIONS, StageContext(), plan)
    assert work.looked == 0, "every face was found"
    assert 0 < work.labelled <= COUNT - SEGMENT
    assert files(folder) == files(whole.folder)


def test_reports_at_every_frame_and_never_goes_back(whole: Built, plan: Plan) -> None:
    reports = whole.reports
    assert reports == sorted(reports) and reports[0] == 0 and reports[-1] == 1
    assert len(reports) >= plan.info.frame_count + 2 * COUNT, "each frame searched for cuts, read, and resized"
    assert max(after - before for before, after in pairwise(reports)) < 0.15
    assert whole.asked >= len(reports) - 2, "each report is a chance to stop"


@pytest.fixture
def half(plan: Plan, tmp_path: Path) -> Iterator[Unfinished]:
    """A build that has kept both segments."""
    with Unfinished(tmp_path / "clip", plan, OPTIONS) as unfinished:
        picture = np.random.default_rng(0).integers(0, 256, (WORKING_SIDE, WORKING_SIDE, 3), np.uint8)
        for frame in range(COUNT):
            unfinished.frames[frame] = picture
            unfinished.labels[frame] = picture[..., 0] % 6
        for number, length in enumerate((SEGMENT, COUNT - SEGMENT)):
            landmarks = np.full((length, 478, 3), number, np.float32)
            found = Sighting(landmarks, np.zeros((length, 52), np.float32), np.ones(length, np.bool_))
            unfinished.keep_sighting(number, found)
            unfinished.keep_labelled(number)
        yield unfinished


def test_a_segment_is_kept_with_what_was_found_in_it(half: Unfinished, plan: Plan, tmp_path: Path) -> None:
    with Unfinished(tmp_path / "clip", plan, OPTIONS) as again:
        found = again.sightings()
        assert set(found) == {0, 1} and again.labelled() == {0, 1}
        assert (found[1].landmarks == 1).all() and found[1].seen.all()


def test_a_segment_whose_pictures_the_disk_lost_is_not_kept(half: Unfinished, plan: Plan, tmp_path: Path) -> None:
    half.frames[SEGMENT + 3] = np.zeros((WORKING_SIDE, WORKING_SIDE, 3), np.uint8)
    half.labels[5] = np.zeros((WORKING_SIDE, WORKING_SIDE), np.uint8)
    with Unfinished(tmp_path / "clip", plan, OPTIONS) as again:
        assert set(again.sightings()) == {0} and again.labelled() == {1}


def test_another_size_sound_or_part_begins_anew(half: Unfinished, plan: Plan, tmp_path: Path) -> None:
    others = (
        (plan, replace(OPTIONS, size=256)),
        (replace(plan, start=plan.start + 1), OPTIONS),
        (replace(plan, audio=plan.audio * np.float32(0.5)), OPTIONS),
    )
    for other, options in others:
        with Unfinished(tmp_path / "clip", other, options) as again:
            assert again.sightings() == {} and again.labelled() == set()
