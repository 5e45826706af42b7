"""The contact sheet: whole, of a fixed layout, and showing what the clip holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.clip import ClipOptions, inspect_clip
from core.clip.frame_views import MASK_COLOURS
from core.clip.lag import Lag
from core.clip.layout import Label
from core.clip.sound_view import sound_view
from core.errors import CancelledError
from core.media import read_image
from core.progress import StageContext
from core.sample import Sample

TILE, GAP, SIDE = 256, 4, 104


@pytest.fixture(scope="module")
def drawn(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, list[float]]:
    """The sample's sheet, and the progress that was reported on the way."""
    path, stages = tmp_path_factory.mktemp("sheet") / "sheet.png", list[float]()
    context = StageContext(on_progress=lambda _, done: stages.append(done))
    inspect_clip(sample.video, ClipOptions(seconds=3.2), context, path)
    assert [one.name for one in path.parent.iterdir()] == ["sheet.png"]
    return read_image(path), stages


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """One of the 5 x 6 pictures; rows are counted from the bottom of the sheet, where no header varies."""
    below = 220 + 2 * GAP
    top = sheet.shape[0] - below - (5 - row) * (TILE + GAP)
    left = SIDE + column * (TILE + GAP)
    return sheet[top : top + TILE, left : left + TILE]


def test_shows_six_moments_five_times(drawn: tuple[np.ndarray, list[float]]) -> None:
    sheet, stages = drawn
    assert sheet.shape[1] == SIDE + 6 * (TILE + GAP) + GAP
    for column in range(6):
        landmarks, masks, pose, depth, normals = (tile(sheet, row, column).astype(int) for row in range(5))
        assert (np.abs(landmarks - (120, 235, 170)).sum(-1) < 90).sum() > 200, "mesh points"
        assert np.abs(pose - landmarks).mean() < 25, "the same picture below axes and box"
        warm = (depth[..., 0] > depth[..., 2] + 60).sum()
        blue = (normals[..., 2] > 150).sum()
        assert 0.02 < warm / TILE**2 < 0.4 and 0.02 < blue / TILE**2 < 0.4
        assert _tinted(masks, Label.SKIN) > 0.03 and _tinted(masks, Label.TORSO) > 0.05
    assert np.abs(tile(sheet, 0, 0).astype(int) - tile(sheet, 0, 3)).mean() > 0.5, "other moments"
    assert stages == sorted(stages) and stages[-1] == 1.0


def _tinted(masks: np.ndarray, label: Label) -> float:
    """Share of pixels nearer to this class's colour than to any other's."""
    names = list(MASK_COLOURS)
    colours = np.array([MASK_COLOURS[one] for one in names], float)
    direction = masks - masks.mean((0, 1)) - (colours.mean(0) - masks.mean((0, 1)))
    nearest = np.linalg.norm(direction[..., None, :] - (colours - colours.mean(0)), axis=-1).argmin(-1)
    return float((nearest == names.index(label)).mean())


def test_the_mouth_is_drawn_over_the_sound_and_moved_by_the_lag() -> None:
    count = 50
    sound = np.zeros(count * 640, np.float32)
    sound[20 * 640 : 30 * 640] = 0.5 * np.sin(np.arange(6400) / 8)
    opening = np.zeros(count)
    opening[20:30] = 1.0
    seen = np.ones(count, bool)

    def columns(panel: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
        return np.flatnonzero((np.abs(panel[26:60].astype(int) - colour).sum(-1) < 40).any(0))

    unsure = sound_view(sound, opening, seen, Lag(3, 0.2, 0.0), np.array([0]), (500, 200))
    raised = columns(unsure, (255, 190, 70))
    assert abs(raised.min() - 200) < 12 and abs(raised.max() - 300) < 12
    assert not len(columns(unsure, (120, 220, 255))), "a lag that is not sure moves nothing"
    sure = sound_view(sound, opening, seen, Lag(5, 0.9, 0.5), np.array([0]), (500, 200))
    assert abs(columns(sure, (120, 220, 255)).max() - 350) < 12


def test_a_cancelled_sheet_leaves_nothing(sample: Sample, tmp_path: Path) -> None:
    reported: list[float] = []
    context = StageContext(lambda _, done: reported.append(done), lambda: bool(reported) and reported[-1] > 0.75)
    with pytest.raises(CancelledError):
        inspect_clip(sample.video, ClipOptions(seconds=3.0), context, tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []
