"""Two real processes learn one universal field: the same bits on both, and as good as one process alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import UsageError
from core.learn.judging import opening_correlation
from core.learn.motion_prior import train_motion_prior
from core.learn.run_folder import RunFolder
from core.learn.tensor_file import read_tensors
from core.learn.together import ALONE, Together
from core.progress import StageContext
from core.sample import Sample
from tests.core.learn.made_tracks import made_track
from tests.core.learn.test_motion_prior import SHORT, VERTICES

SCHEDULE = replace(SHORT, iterations=40, checkpoint_every=20)

PICTURES_OF_ONE_OF_TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from core.learn.photometric import train_photometric
from core.learn.run_folder import RunFolder
from core.learn.tensor_file import write_tensors
from core.learn.together import joined
from core.progress import StageContext
from core.sample import Sample
from tests.core.learn.made_films import made_films
from tests.core.learn.test_photometric import TINY, face_field
torch.set_num_threads(1)
folder, sample = Path(sys.argv[1]), Sample.at(Path(sys.argv[2]))
with joined() as together:
    mine = together.share(["a", "b"])
    films = made_films(sample, folder / f"films{together.rank}", {name: slice(0, 40) for name in mine})
    runs = RunFolder(folder / "face", together), RunFolder(folder / "mouth", together)
    short = replace(TINY, face=6, mouth=8)
    seen = train_photometric(films, face_field(), short, 0, StageContext(), runs, None, together)
    fields = torch.nn.ModuleDict({"face": seen.face, "mouth": seen.mouth})
    write_tensors(folder / f"{together.rank}.safetensors", fields.state_dict(), {"people": ",".join(mine)})
"""

ONE_OF_TWO = """
import sys
from pathlib import Path
import torch
from core.learn.motion_prior import train_motion_prior
from core.learn.run_folder import RunFolder
from core.learn.tensor_file import write_tensors
from core.learn.together import joined
from core.progress import StageContext
from tests.core.learn.made_tracks import made_track
from tests.core.learn.test_together import SCHEDULE, VERTICES
torch.set_num_threads(1)
folder = Path(sys.argv[1])
with joined() as together:
    mine = together.share(["p0", "p1", "p2", "p3"])
    tracks = [made_track(int(name[1:])) for name in mine]
    run = RunFolder(folder / "run", together)
    field = train_motion_prior(tracks, VERTICES, SCHEDULE, 0, StageContext(), run, together=together)
    write_tensors(folder / f"{together.rank}.safetensors", field.state_dict(), {"people": ",".join(mine)})
"""


def run_two(script: str, *words: str) -> None:
    """The script in two processes that find each other, as `torchrun` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(2):
        variables = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-c", script, *words]
        started.append(subprocess.Popen(command, cwd=Path(__file__).parents[3], env={**os.environ, **variables}))
    assert [process.wait(timeout=300) for process in started] == [0, 0]


def test_two_processes_learn_the_same_universal_fields_from_pictures_of_different_people(
    sample: Sample, tmp_path: Path
) -> None:
    run_two(PICTURES_OF_ONE_OF_TWO, str(tmp_path), str(sample.folder))
    (first, one), (second, other) = (read_tensors(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert (one["people"], other["people"]) == ("a", "b")
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert any(name.startswith("mouth.") for name in first)


def test_two_processes_end_with_one_universal_field_as_good_as_one_processs(tmp_path: Path) -> None:
    run_two(ONE_OF_TWO, str(tmp_path))
    (first, one), (second, other) = (read_tensors(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert (one["people"], other["people"]) == ("p0,p2", "p1,p3")
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    alone = RunFolder(tmp_path / "alone")
    everyone = [made_track(seed) for seed in range(4)]
    schedule = replace(SCHEDULE, people=2 * SCHEDULE.people)  # as many samples a step as two processes take
    field = train_motion_prior(everyone, VERTICES, schedule, 0, StageContext(), alone)
    single = alone.rows()[-1]["loss"]
    together = RunFolder(tmp_path / "run").rows()[-1]["loss"]
    assert abs(together - single) < 0.35 * single
    field.load_state_dict(first)
    scores = [opening_correlation(field, track, VERTICES) for track in everyone]
    assert np.mean(scores) > 0.7


def test_gradients_become_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(joint: torch.Tensor) -> None:
        joint += torch.tensor([10.0, 20.0, 30.0])  # what the other process has

    monkeypatch.setattr("core.learn.together.dist.all_reduce", all_reduce)
    first, second, frozen = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True), torch.zeros(1)
    first.grad = torch.tensor([2.0, 4.0])  # the second has none: it counts as zero
    Together(0, 2).average_gradients([first, second, frozen])
    assert torch.equal(first.grad, torch.tensor([6.0, 12.0]))
    assert second.grad is not None and second.grad.item() == 15
    assert frozen.grad is None


def test_where_nothing_learns_nothing_travels() -> None:
    Together(0, 2).average_gradients([torch.zeros(1)])  # there is no second process: a collective would raise


def test_alone_nothing_is_exchanged() -> None:
    parameter = torch.zeros(2, requires_grad=True)
    ALONE.average_gradients([parameter])
    assert parameter.grad is None
    assert ALONE.mean(3.0) == 3 and ALONE.in_common({1, 2}) == {1, 2} and ALONE.share(["a", "b"]) == ["a", "b"]


def test_more_processes_than_people_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Together(0, 3).share(["a", "b"])
    assert caught.value.code == "too_many_processes"
