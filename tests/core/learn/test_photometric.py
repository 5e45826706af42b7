"""Learning from pictures of several people: equation 5, everyone's own stays theirs, what was cut off goes on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.avatar import FaceField, MouthField
from core.avatar.personal import PersonalFaceField, PersonalMouthField
from core.learn.filmed import Filmed
from core.learn.motion_prior import awake
from core.learn.photometric import (
    Photographed,
    PhotometricSchedule,
    Stage,
    moved_by,
    start_faces,
    start_mouths,
    train_photometric,
)
from core.learn.portraits import write_portraits
from core.learn.run_folder import RunFolder
from core.learn.sitting import FrameLoss, TwoFields
from core.learn.together import ALONE
from core.progress import StageContext
from core.sample import Sample
from tests.core.learn.made_films import made_films

TINY = PhotometricSchedule(
    face=30, mouth=30, surface_points=300, shell_points=150, mouth_points=120, face_rate=1.0, checkpoint_every=10
)
POINTS = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
WINDOWS = torch.randn(8, 16, 64, generator=torch.Generator().manual_seed(1))
EXPRESSION = torch.rand(6, generator=torch.Generator().manual_seed(2))
HOOK = torch.tensor([0.4, -0.3, 0.7])


@pytest.fixture(scope="session")
def films(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> list[Filmed]:
    """Two people with 50 frames each."""
    root = tmp_path_factory.mktemp("films")
    return made_films(sample, root, {"a": slice(0, 100, 2), "b": slice(1, 100, 2)})


@pytest.fixture(scope="session")
def held(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """Person a's last 25 frames."""
    return made_films(sample, tmp_path_factory.mktemp("held"), {"a": slice(100, 125)})[0]


def face_field() -> FaceField:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return awake(FaceField())


def kept(stage: Stage, who: str) -> dict[str, torch.Tensor]:
    own = {**stage.sittings[who].tensors("s"), **stage.state.personal[who].tensors("p")}
    return {name: value.clone() for name, value in own.items()}


def held_loss(stage: Stage, loss: FrameLoss) -> float:
    """Mean loss of person a's branch, as it stands, on frames that nobody learns from."""
    sitting = replace(stage.sittings["a"], generator=torch.Generator().manual_seed(9), field=moved_by(stage)["a"])
    with torch.no_grad():
        return float(np.mean([loss(sitting)[0].item() for _ in range(25)]))


def trained(films: list[Filmed], root: Path, context: StageContext) -> Photographed:
    folders = RunFolder(root / "face"), RunFolder(root / "mouth")
    return train_photometric(films, face_field(), TINY, 0, context, folders)


@pytest.mark.parametrize(
    ("universal", "personal", "condition"),
    [(FaceField, PersonalFaceField, EXPRESSION), (MouthField, PersonalMouthField, HOOK)],
)
def test_two_fields_move_by_their_sum_and_the_universal_one_alone_by_itself(
    universal: type[FaceField | MouthField], personal: type[FaceField | MouthField], condition: torch.Tensor
) -> None:
    shared, own, other = awake(universal()), awake(personal()), awake(personal())
    alone = TwoFields(shared)(POINTS, WINDOWS, condition)
    assert torch.equal(alone.translation, shared(POINTS, WINDOWS, condition).translation)
    fields = TwoFields(shared, own, (other,))
    added = own(POINTS, WINDOWS, condition).translation
    assert torch.equal(fields(POINTS, WINDOWS, condition).translation, alone.translation + added)
    common = (1e6 * added * other(POINTS, WINDOWS, condition).translation).sum(1).clamp(min=0)[::4].mean()
    assert torch.allclose(fields.contrast, common)
    fields.contrast.backward()
    assert all(parameter.grad is None for parameter in (*shared.parameters(), *other.parameters()))


def test_a_step_for_one_person_leaves_the_others_structure_and_field_as_they_were(films: list[Filmed]) -> None:
    schedule = replace(TINY, warm_up=0.0)
    faces = start_faces(films, face_field(), schedule, 0)
    for stage in (faces, start_mouths(films, faces, schedule, 0)):
        touched = set()
        for _ in range(8):
            before, count = {who: kept(stage, who) for who in ("a", "b")}, stage.sittings["a"].iteration
            shared = stage.state.universal.field.layers[0].clone()
            stage.step()
            who = "a" if stage.sittings["a"].iteration > count else "b"
            for name in ("a", "b"):
                same = all(torch.equal(before[name][key], value) for key, value in kept(stage, name).items())
                assert same == (name != who), (stage.name, name, who)
            assert not torch.equal(shared, stage.state.universal.field.layers[0])
            touched.add(who)
        assert touched == {"a", "b"}


def test_a_rate_of_zero_and_the_warm_up_leave_the_universal_field_to_the_bit(
    films: list[Filmed], tmp_path: Path
) -> None:
    for name, schedule in (("rate", replace(TINY, face_rate=0.0)), ("warm", replace(TINY, face=5, warm_up=1.0))):
        faces = start_faces(films, face_field(), schedule, 0)
        before = {who: kept(faces, who) for who in ("a", "b")}
        faces.run(StageContext(), RunFolder(tmp_path / name), None, ALONE)
        for key, value in face_field().state_dict().items():
            assert torch.equal(value, faces.state.universal.field.state_dict()[key]), (name, key)
        assert any(not torch.equal(before["a"][key], value) for key, value in kept(faces, "a").items())


def test_without_personal_fields_the_universal_one_moves_everybody(films: list[Filmed]) -> None:
    schedule = replace(TINY, warm_up=0.0, personal=False)
    faces = start_faces(films, face_field(), schedule, 0)
    assert not faces.state.personal
    for _ in range(4):
        loss, contrast = faces.step()
        assert loss > 0 and contrast == 0
    universal = faces.state.averaged()
    for field in moved_by(faces).values():
        assert torch.equal(
            field(POINTS, WINDOWS, EXPRESSION).translation, universal(POINTS, WINDOWS, EXPRESSION).translation
        )


def test_learning_from_pictures_lowers_the_loss_on_frames_that_nobody_learned_from(
    films: list[Filmed], held: Filmed, tmp_path: Path
) -> None:
    from core.learn.face import FaceLoss
    from core.learn.mouth import MouthLoss

    schedule = replace(TINY, face=60, mouth=60)
    faces = start_faces(films, face_field(), schedule, 0)
    loss: FrameLoss = FaceLoss(held.data)
    before = held_loss(faces, loss)
    faces.run(StageContext(), RunFolder(tmp_path / "face"), None, ALONE)
    assert held_loss(faces, loss) < 0.8 * before
    mouths = start_mouths(films, faces, schedule, 0)
    loss = MouthLoss(held.data, faces.sittings["a"].gaussians.frozen(), moved_by(faces)["a"])
    before = held_loss(mouths, loss)
    mouths.run(StageContext(), RunFolder(tmp_path / "mouth"), None, ALONE)
    assert held_loss(mouths, loss) < 0.8 * before


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from core.learn.filmed import open_filmed
from core.progress import StageContext
from core.sample import Sample
from tests.core.learn.made_films import heard_jaw
from tests.core.learn.test_photometric import trained
torch.set_num_threads(1)
sample, films, run, deadly = Sample.at(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
calls = iter(range(deadly))
def check():
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
people = [open_filmed(who, films / who, heard_jaw(sample, who)) for who in ("a", "b")]
trained(people, run, StageContext(is_cancelled=check))
"""


def test_a_run_killed_in_either_stage_ends_as_one_that_was_not(
    films: list[Filmed], sample: Sample, tmp_path: Path
) -> None:
    whole = trained(films, tmp_path / "whole", StageContext())
    for calls in (17, 34):  # in the faces; then, from their iteration 10 on, in the mouths at 14
        words = [str(sample.folder), str(films[0].folder.parent), str(tmp_path / "cut"), str(calls)]
        command = [sys.executable, "-c", KILLED, *words]
        assert subprocess.run(command, cwd=Path(__file__).parents[3], timeout=300, check=False).returncode == -9
    resumed = trained(films, tmp_path / "cut", StageContext())
    assert resumed.rates["face"] is None and resumed.rates["mouth"] is not None
    assert whole.mouth is not None and resumed.mouth is not None
    for one, other in ((whole.face, resumed.face), (whole.mouth, resumed.mouth)):
        for name, value in one.state_dict().items():
            assert torch.allclose(value, other.state_dict()[name], rtol=0, atol=1e-6), name
    for mine, theirs in zip(whole.portraits, resumed.portraits, strict=True):
        for name, value in mine.mouth.tensors().items():
            assert torch.allclose(value, theirs.mouth.tensors()[name], rtol=0, atol=1e-6), name
    rows = [RunFolder(tmp_path / name / "mouth").rows() for name in ("whole", "cut")]
    assert [row["iteration"] for row in rows[0]] == [row["iteration"] for row in rows[1]] == [30]
    assert rows[0][-1]["iterations_per_s"] > 0
    write_portraits(resumed.portraits, tmp_path / "portraits")
    assert sorted(path.name for path in (tmp_path / "portraits").iterdir()) == ["a.png", "b.png"]
