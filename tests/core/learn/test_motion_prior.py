"""Landmark pre-training: the field learns a motion that speech drives; people's own fields stay their own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.avatar import FaceField
from core.clip.canonical import canonical_face
from core.errors import CancelledError
from core.learn import motion_prior
from core.learn.identity_free import IdentityFree
from core.learn.judging import judge, opening_correlation
from core.learn.motion_prior import PriorSchedule, personalise, train_motion_prior
from core.learn.run_folder import RunFolder
from core.progress import StageContext
from tests.core.learn.made_tracks import made_track

VERTICES = torch.from_numpy(canonical_face().vertices.astype(np.float32))
SHORT = PriorSchedule(iterations=30, people=2, frames=4, points=12, lip_weight=20.0, noise=0.0, checkpoint_every=10)


def trained(
    schedule: PriorSchedule = SHORT, folder: Path | None = None, context: StageContext | None = None
) -> FaceField:
    tracks = [made_track(seed) for seed in range(3)]
    run = RunFolder(folder) if folder else None
    return train_motion_prior(tracks, VERTICES, schedule, 0, context or StageContext(), run)


def states(state: IdentityFree, identity: str) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.personal[identity].tensors("x").items()}


def test_the_field_learns_to_open_the_mouth_and_speech_drives_it() -> None:
    track, schedule = made_track(0), replace(SHORT, iterations=80)
    field = train_motion_prior([track], VERTICES, schedule, 0, StageContext())
    assert opening_correlation(field, track, VERTICES) > 0.7
    assert abs(opening_correlation(field, track.with_wrong_audio(), VERTICES)) < 0.5
    assert field.layers[-1][3:].abs().max() == 0  # rotation and scale saw no target
    still = judge(None, track, track, VERTICES)
    assert still.opening_correlation == 0 and judge(field, track, track, VERTICES).lmd_px < still.lmd_px


def test_personalising_moves_the_field_toward_the_person() -> None:
    field, person = FaceField(), made_track(7)
    before = opening_correlation(field, person, VERTICES)
    personalise(field, person, VERTICES, 0, StageContext())
    assert opening_correlation(field, person, VERTICES) > before


def test_a_step_for_two_people_leaves_every_other_field_as_it_was() -> None:
    tracks, schedule = [made_track(seed) for seed in range(3)], replace(SHORT, contrast=5.0)
    state = IdentityFree.start(FaceField, motion_prior.PersonalFaceField, ["p0", "p1", "p2"], 0)
    touched = set()
    draw = motion_prior._Draw(tracks, ["p0", "p1", "p2"], VERTICES, schedule)
    for _ in range(12):
        before = {identity: states(state, identity) for identity in state.personal}
        shared = state.universal.field.layers[0].clone()
        batch = draw(state.generator)
        drawn = [part.identity for part in batch.parts]
        loss, contrast = motion_prior._losses(state, batch, schedule)
        (loss + 5 * contrast).backward()
        state.step(drawn, 1.0, 1.0)
        for other in state.personal:
            same = all(torch.equal(before[other][name], value) for name, value in states(state, other).items())
            assert same == (other not in drawn), (drawn, other)
        assert not torch.equal(shared, state.universal.field.layers[0])
        assert len(set(drawn)) == 2
        touched |= set(drawn)
    assert touched == {"p0", "p1", "p2"}


def test_fewer_people_than_a_step_wants_are_all_taken() -> None:
    draw = motion_prior._Draw([made_track(seed) for seed in range(2)], ["p0", "p1"], VERTICES, PriorSchedule())
    assert {part.identity for part in draw(torch.Generator().manual_seed(0)).parts} == {"p0", "p1"}


def test_contrast_makes_peoples_own_fields_have_less_in_common() -> None:
    rows = []
    for weight in (0.0, 30.0):
        state = IdentityFree.start(FaceField, motion_prior.PersonalFaceField, ["p0", "p1", "p2"], 0)
        draw = motion_prior._Draw([made_track(seed) for seed in range(3)], ["p0", "p1", "p2"], VERTICES, SHORT)
        measured = replace(SHORT, contrast=1.0)
        for _ in range(60):
            batch = draw(state.generator)
            loss, contrast = motion_prior._losses(state, batch, measured)
            (loss + weight * contrast).backward()
            state.step([part.identity for part in batch.parts], 1.0, 1.0)
            rows.append((weight, contrast.item()))
    common = {weight: np.mean([value for w, value in rows if w == weight][-20:]) for weight in (0.0, 30.0)}
    assert common[30.0] < 0.5 * common[0.0]


def test_a_cancelled_run_goes_on_to_the_same_field(tmp_path: Path) -> None:
    left = iter(range(17))
    with pytest.raises(CancelledError):
        trained(folder=tmp_path, context=StageContext(is_cancelled=lambda: next(left, None) is None))
    resumed, whole = trained(folder=tmp_path), trained()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from core.progress import StageContext
from tests.core.learn.test_motion_prior import trained
torch.set_num_threads(1)
folder, deadly = Path(sys.argv[1]), int(sys.argv[2])
calls = iter(range(deadly))
def check():
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
trained(folder=folder, context=StageContext(is_cancelled=check))
"""


def test_a_run_killed_twice_ends_with_the_same_field_and_the_same_curves(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    for steps in (17, 13):  # dies at iteration 16, goes on at 10, dies at 22, goes on at 20
        command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(steps)]
        assert subprocess.run(command, cwd=root, timeout=300, check=False).returncode == -9
    resumed, whole = trained(folder=tmp_path / "killed"), trained(folder=tmp_path / "whole")
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], rtol=0, atol=1e-6), name
    rows = [RunFolder(tmp_path / name).rows() for name in ("killed", "whole")]
    assert [row["iteration"] for row in rows[0]] == [25, 30]
    assert rows[0][-1]["iteration"] == rows[1][-1]["iteration"]
