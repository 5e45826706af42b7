"""A mouth starts from the universal field where the file has one, and from scratch where it has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.avatar import FaceField, Gaussians, MouthField
from core.avatar.avatar import branch_tensors
from core.clip.layout import Clip
from core.learn import adaptation
from core.learn.adaptation import WorkFolder, learn_mouth
from core.learn.motion_prior import awake
from core.learn.profiles import BranchSchedule, profile
from core.learn.tensor_file import read_tensors, write_tensors
from core.learn.umf import FORMAT, Umf, UmfCard, find_umf, write_umf
from core.progress import StageContext

CARD = UmfCard(FORMAT, "whisper-tiny.en-encoder-2s", 64, 64, {"a": 1.0}, 10, "0", "Apache-2.0", mouth_hidden=32)
SHORT = replace(profile("draft"), mouth_points=40, mouth=BranchSchedule(6, 60, 2e-4))


@pytest.fixture
def work(small_clip: Clip, tmp_path: Path) -> WorkFolder:
    """A folder whose face is learned."""
    folder = WorkFolder(tmp_path)
    folder.clip.symlink_to(small_clip.folder)
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    face = Gaussians.at(points, torch.rand(60, 3), torch.full((60,), 0.004), 0.3)
    tensors = branch_tensors("face", face, FaceField()) | {"moving": torch.tensor(55)}
    write_tensors(folder.face, tensors, {"aligned": "0", "lids": "0"})
    return folder


def learned(work: WorkFolder, umf: Umf | None) -> torch.Tensor:
    """The speech network's first weights after six steps."""
    work.mouth.unlink(missing_ok=True)
    learn_mouth(work, SHORT, umf, 0, StageContext())
    return read_tensors(work.mouth)[0]["mouth_field.speech.hidden.weight"]


def test_a_mouth_starts_from_the_universal_field_and_learns_at_a_reduced_rate(
    work: WorkFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mouth, path = awake(MouthField()), tmp_path / "both.safetensors"
    write_umf(path, FaceField(), mouth, CARD)
    start, umf = mouth.speech.hidden.weight.detach(), find_umf(str(path))
    moved = (learned(work, umf) - start).abs().max()
    assert 0 < moved < 6 * 2.5e-3 * adaptation.UNIVERSAL_MOUTH_RATE * 1.5  # six steps of AdamW at that rate
    monkeypatch.setattr(adaptation, "UNIVERSAL_MOUTH_RATE", 0.0)
    assert torch.equal(learned(work, umf), start)


def test_without_a_universal_mouth_field_it_starts_from_scratch(work: WorkFolder, tmp_path: Path) -> None:
    path = tmp_path / "alone.safetensors"
    write_umf(path, FaceField(), None, replace(CARD, mouth_hidden=0))
    assert torch.equal(learned(work, find_umf(str(path))), learned(work, None))
