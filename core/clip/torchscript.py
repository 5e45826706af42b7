"""TorchScript models that a user brings: opened, and run on one picture or sound, with errors that say which setting.

The only file of this room that imports torch, and only when a model is opened. Knows no model's meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import MissingModelError

Floats = npt.NDArray[np.float32]


class TorchScript:
    """One model, on the CPU, in float32."""

    def __init__(self, path: Path, setting: str) -> None:
        """Open the file.

        Args:
            path: what `torch.jit.save` wrote.
            setting: the environment variable that names it, for messages.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`.
        """
        self._setting = setting
        if not path.is_file():
            raise MissingModelError(
                "own_model_missing",
                f"There is no file where {setting} points.",
                f"Correct {setting}, or unset it to use what ships with Likeness.",
            )
        import torch

        try:
            self._model: Any = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise self._unusable("is no TorchScript model") from error

    def run(self, batch: Floats) -> Floats:
        """One forward pass: [1, ...] -> the model's answer; the first one where it gives several (BiSeNet does).

        Raises:
            MissingModelError: `own_model_unusable`: it fails on such an input, or answers with something else.
        """
        import torch

        try:
            with torch.inference_mode():
                answer = self._model(torch.from_numpy(np.ascontiguousarray(batch, np.float32)))
        except (RuntimeError, ValueError, TypeError) as error:
            raise self._unusable(f"fails on an input of shape {list(batch.shape)}") from error
        if isinstance(answer, dict):
            answer = answer.get("logits", answer.get("out", answer.get("last_hidden_state")))
        if isinstance(answer, tuple | list):
            answer = answer[0]
        if not isinstance(answer, torch.Tensor):
            raise self._unusable("does not answer with a tensor")
        return np.asarray(answer.float().numpy(), np.float32)

    def expect(self, answer: Floats, fits: bool) -> Floats:
        """Hand `answer` on where it `fits`.

        Raises:
            MissingModelError: `own_model_unusable`.
        """
        if not fits:
            raise self._unusable(f"answers in the shape {list(answer.shape)}, which is not that of its kind")
        return answer

    def _unusable(self, what: str) -> MissingModelError:
        return MissingModelError(
            "own_model_unusable",
            f"The model that {self._setting} names {what}.",
            "Bring a model of the kind that docs/models.md describes, or unset the variable.",
        )
