"""Each variant lacks its part and nothing else; rows are kept; the table is their mean. On a drawn clip."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from core.avatar import Avatar
from core.bundle import read_bundle
from core.bundle.avatar_member import parse_avatar
from core.bundle.file import AVATAR
from core.clip.layout import Clip
from core.errors import MissingModelError, UsageError
from core.evaluate import ablation
from core.evaluate.ablation import Row, ablate, as_markdown, summarise, variants
from core.learn.profiles import BranchSchedule, Profile
from core.models import locate
from core.progress import StageContext

TINY = Profile("draft", 64, 60, 40, 30, BranchSchedule(4, 200, 1.0), BranchSchedule(4, 100, 1.0), 3)

Adapt = Callable[[str], tuple[Row, Avatar]]


@pytest.fixture
def adapt(small_clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapt:
    """Adapts the drawn clip under one variant, and opens what came out."""
    try:
        locate("face_landmarker")
    except MissingModelError:
        pytest.skip("the landmark model is not on this machine: likeness models fetch")
    monkeypatch.setattr(ablation, "profile", lambda name: TINY)
    for name in ("first-5s", "first-5s-test"):
        folder = tmp_path / "ann" / name
        folder.mkdir(parents=True)
        replace(small_clip, folder=folder).save()
        for streamed in ("frames.npy", "labels.npy", "audio.wav"):
            shutil.copy(small_clip.folder / streamed, folder)

    def run(name: str) -> tuple[Row, Avatar]:
        [variant] = variants([name], "base", {})
        row = ablation._run(ablation._Job(variant, "ann", 0, 5.0, "draft", tmp_path))
        bundle = read_bundle(tmp_path / "ann" / f"{name}-5s-0.likeness")
        return row, parse_avatar(bundle.read(AVATAR))

    return run


def test_every_variant_lacks_its_part_and_is_measured(adapt: Adapt) -> None:
    made = {name: adapt(name) for name in ("full", "no-aligner", "no-hook", "single-branch", "scratch")}
    avatars = {name: avatar for name, (_, avatar) in made.items()}
    assert {name: avatar.face_field.aligner is not None for name, avatar in avatars.items()} == {
        "full": True, "no-aligner": False, "no-hook": True, "single-branch": True, "scratch": False
    }  # fmt: skip
    hooks = {name: float(avatar.mouth_field.layers[0][:, -3:].abs().max()) for name, avatar in avatars.items()}
    assert hooks["no-hook"] == 0
    assert min(value for name, value in hooks.items() if name != "no-hook") > 0
    assert avatars["single-branch"].mouth.count == 0
    assert avatars["full"].mouth.count > 0
    universal = avatars["full"].face_field.grid.table
    assert torch.equal(universal, avatars["no-hook"].face_field.grid.table)
    assert not torch.equal(universal, avatars["scratch"].face_field.grid.table)
    for name, (row, _) in made.items():
        assert (row.variant, row.person, row.seed, row.seconds) == (name, "ann", 0, 5.0)
        assert row.psnr_a > 5


def row(variant: str, person: str, seed: int, psnr: float, corr: float | None = 0.5) -> Row:
    return Row(variant, person, seed, 5.0, psnr, 20.0, None, None, None, 0.8, 2.0, corr, 1.0, 0, None, None, None)


def test_the_table_is_the_mean_over_people_and_its_spread_over_seeds() -> None:
    rows = [row("full", p, s, 20.0 + s + 4 * (p == "bob")) for p in ("ann", "bob") for s in (0, 1)]
    rows += [row("scratch", "ann", 0, 10.0, None)]
    found = summarise(rows)["5"]
    assert (found["full"]["psnr_a"], found["full"]["psnr_a_sd"]) == (22.5, 0.5)
    assert "lpips_a" not in found["full"]
    assert "mouth_open_corr" not in found["scratch"]
    table = as_markdown(rows)
    assert "| full | 22.500 ± 0.500 |" in table
    assert "lpips" not in table


def test_what_the_folder_holds_is_not_repeated(tmp_path: Path) -> None:
    kept = [row("full", "ann", 0, 20.0)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in kept))
    chosen = variants(["full"], "base", {})
    assert ablate([Path("ann.mp4")], tmp_path, chosen, [5.0], "draft", 1, 1, StageContext()) == kept


def test_variants_that_are_none_are_refused() -> None:
    for names, others, code in ((["no-head"], {}, "variant_unknown"), (["full"], {"x": "missing"}, "umf_unknown")):
        with pytest.raises(UsageError) as caught:
            variants(names, "base", others)
        assert caught.value.code == code
