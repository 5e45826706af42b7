"""What a pre-training run leaves while it runs: checkpoints that it can go on from, and its curves as rows of JSON.

Two checkpoints of every process are kept, so that processes killed while they saved find one that all of them have.
Knows neither fields nor losses.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from core.learn.tensor_file import read_tensors, write_tensors
from core.learn.together import ALONE, Together

_KEPT = 2


class RunFolder:
    """One stage's folder."""

    def __init__(self, root: Path, together: Together = ALONE) -> None:
        """`root` is made."""
        self.root = root
        self._together = together
        root.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Rows of `{"iteration": ...}`, one JSON object a line; the first process writes it."""
        return self.root / "log.jsonl"

    def save(self, iteration: int, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        """Write a checkpoint whole, then drop this process's oldest."""
        write_tensors(self._path(iteration), tensors, metadata)
        for old in sorted(self.iterations())[:-_KEPT]:
            self._path(old).unlink()

    def newest(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """The newest checkpoint that every process has; rows logged after it are dropped."""
        common = self._together.in_common(self.iterations())
        iteration = max(common, default=0)
        self._cut(iteration)
        return read_tensors(self._path(iteration)) if common else None

    def add(self, row: dict[str, object]) -> None:
        """Log a row."""
        if self._together.rank == 0:
            with self.log.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All rows that were written whole."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def _cut(self, iteration: int) -> None:
        if self._together.rank == 0 and self.log.exists():
            kept = [json.dumps(row) + "\n" for row in self.rows() if row["iteration"] <= iteration]
            partial = self.log.with_suffix(".partial")
            partial.write_text("".join(kept))
            partial.replace(self.log)

    def _path(self, iteration: int) -> Path:
        return self.root / f"{self._prefix}{iteration}.safetensors"

    @property
    def _prefix(self) -> str:
        return f"rank{self._together.rank}of{self._together.size}-"

    def iterations(self) -> set[int]:
        """Of this process's checkpoints."""
        return {int(path.stem.removeprefix(self._prefix)) for path in self.root.glob(f"{self._prefix}*.safetensors")}
