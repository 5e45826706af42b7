"""How likely each pixel shows a person: MediaPipe's selfie segmentation through LiteRT. Knows one picture at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.clip.quiet import quiet_natives
from core.clip.scaling import scaled_picture
from core.models import locate

SIDE = 256
"""The network's input and output side in pixels."""


class PersonSegmenter:
    """Person probability of square pictures."""

    def __init__(self, threads: int = 1) -> None:
        """Raises MissingModelError where the model is not on this machine."""
        from ai_edge_litert.interpreter import Interpreter

        with quiet_natives():
            self._graph: Any = Interpreter(str(locate("selfie_segmentation")), num_threads=threads)
            self._graph.allocate_tensors()
        self._input = self._graph.get_input_details()[0]["index"]
        self._output = self._graph.get_output_details()[0]["index"]

    def probability(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """[S, S, 3] sRGB -> [256, 256], 0..1."""
        small = scaled_picture(rgb, SIDE)
        self._graph.set_tensor(self._input, np.divide(small[None], 255, dtype=np.float32))
        self._graph.invoke()
        return np.asarray(self._graph.get_tensor(self._output)[0, :, :, 0], np.float32).copy()
