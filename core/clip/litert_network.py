"""What MediaPipe's networks have in common when LiteRT runs them: one input, an anchor grid, overlapping boxes merged.

Must not know what a network looks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.quiet import quiet_natives

Floats = npt.NDArray[np.float32]

_OVERLAP = 0.3


class Network:
    """One LiteRT graph with one input."""

    def __init__(self, content: bytes, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with quiet_natives():
            self._graph = Interpreter(model_content=content, num_threads=threads)
            self._graph.allocate_tensors()
        self._input = self._graph.get_input_details()[0]["index"]
        self._outputs: dict[tuple[int, ...], int] = {}
        for one in self._graph.get_output_details():
            self._outputs.setdefault(tuple(int(n) for n in one["shape"]), one["index"])

    def __call__(self, values: Floats) -> dict[tuple[int, ...], Any]:
        """Outputs by their shape (the graphs' tensor names say nothing), the first of each shape."""
        self._graph.set_tensor(self._input, values)
        self._graph.invoke()
        return {shape: self._graph.get_tensor(index) for shape, index in self._outputs.items()}


def anchors(grids: tuple[tuple[int, int], ...]) -> Floats:
    """[n, 2] centres of a detector's anchors, 0..1, for grids of (cells a side, anchors in each cell)."""
    centres = []
    for cells, repeats in grids:
        axis = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(axis, axis, indexing="ij")
        centres.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), repeats, axis=0))
    return np.concatenate(centres).astype(np.float32)


def merge_overlapping(points: Floats, scores: Floats) -> list[Floats]:
    """Weighted non-maximum suppression over [n, 2 + k, 2] (centre, size, key points): best first."""
    low, high = points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2
    area = points[:, 1].prod(1)
    left = np.argsort(-scores)
    merged: list[Floats] = []
    while len(left):
        best = left[0]
        inside = np.clip(np.minimum(high[left], high[best]) - np.maximum(low[left], low[best]), 0, None).prod(1)
        same = inside / (area[left] + area[best] - inside) > _OVERLAP
        same[0] = True
        group = left[same]
        merged.append((points[group] * scores[group, None, None]).sum(0) / scores[group].sum())
        left = left[~same]
    return merged
