"""A run goes on from the newest checkpoint that every process has, and its curves with it."""

from __future__ import annotations

from pathlib import Path

import torch

from core.learn.run_folder import RunFolder
from core.learn.together import Together


def saved(folder: RunFolder, *iterations: int) -> None:
    for iteration in iterations:
        folder.add({"iteration": iteration, "loss": 1.0})
        folder.save(iteration, {"x": torch.tensor([float(iteration)])}, {"loop": str(iteration)})


def test_the_newest_checkpoint_counts_and_older_ones_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.newest() is None
    saved(folder, 5, 9, 10, 11)
    found = folder.newest()
    assert found is not None and found[1]["loop"] == "11" and found[0]["x"].item() == 11
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 2


def test_rows_after_the_checkpoint_are_dropped_and_a_torn_row_is_no_row(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    saved(folder, 10)
    folder.add({"iteration": 15})
    with folder.log.open("a") as file:
        file.write('{"iteration": 2')
    assert [row["iteration"] for row in folder.rows()] == [10, 15]
    folder.newest()
    assert [row["iteration"] for row in folder.rows()] == [10]


def test_processes_agree_on_a_checkpoint_that_all_have(tmp_path: Path) -> None:
    class Pair(Together):
        def in_common(self, numbers: set[int]) -> set[int]:
            return numbers & {10, 20}  # the other one was killed before it saved 30

    folder = RunFolder(tmp_path, Pair(rank=1, size=2))
    saved(folder, 20, 30)
    found = folder.newest()
    assert found is not None and found[1]["loop"] == "20"
    assert not folder.log.exists()  # the first process writes the curves
