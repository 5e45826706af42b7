"""`avatar.safetensors` and `head.ply`: the avatar as bytes and back, checked. Knows no zip and no pictures."""

from __future__ import annotations

import json
import struct

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from core.avatar import Avatar, Gaussians
from core.avatar.encoding import SPEECH_DIM
from core.avatar.still_speech import STEPS, WINDOWS
from core.bundle.splat_file import SplatCloud, splat_ply
from core.errors import BundleError

MAX_HEADER_BYTES = 2**20
MAX_GAUSSIANS = 500_000
MAX_WIDTH = 4096
"""Of a field's layers, as the metadata names them: the reader allocates them before it fills them."""


def avatar_bytes(avatar: Avatar) -> bytes:
    """The avatar as one safetensors file, its metadata in the file's header."""
    return save(avatar.to_tensors(), avatar.metadata())


def parse_avatar(data: bytes) -> Avatar:
    """The avatar from `avatar_bytes`; every number in it is finite.

    Raises:
        BundleError: `bundle_damaged` where names, types, shapes or numbers are not an avatar's.
    """
    try:
        tensors = load(data)
        _check_finite(tensors)
        avatar = Avatar.from_tensors(tensors, _metadata(data))
        _check_shapes(avatar.face, least=1)
        _check_shapes(avatar.mouth, least=0)
        if avatar.rest is not None and (
            avatar.rest.shape != (WINDOWS, STEPS, SPEECH_DIM) or avatar.rest.dtype != torch.float32
        ):
            raise ValueError("no usable rest")
        if avatar.moving is not None and not 0 <= avatar.moving <= avatar.face.count:
            raise ValueError("no usable count of what moves")
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, struct.error, RecursionError):
        raise _damaged("can't be read") from None
    return avatar


def _check_finite(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} is not finite")


def _metadata(data: bytes) -> dict[str, str]:
    """The `__metadata__` of a safetensors header: 8 bytes of length, then that much JSON."""
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("header too long")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    texts = {str(key): str(value) for key, value in metadata.items()}
    if any(text.lstrip("-").isdigit() and not 0 <= int(text) <= MAX_WIDTH for text in texts.values()):
        raise ValueError("a field of absurd width")
    return texts


def _check_shapes(branch: Gaussians, least: int) -> None:
    count = branch.count
    if not least <= count <= MAX_GAUSSIANS:
        raise ValueError("no usable number of Gaussians")
    shapes = {"means": (3,), "quaternions": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
    for name, tail in shapes.items():
        tensor = getattr(branch, name)
        if tuple(tensor.shape) != (count, *tail) or tensor.dtype != torch.float32:
            raise ValueError(f"no usable {name}")


def _damaged(reason: str) -> BundleError:
    return BundleError("bundle_damaged", f"The bundle's avatar {reason}.", "Make the bundle again.")


@torch.no_grad()
def head_ply(avatar: Avatar) -> bytes:
    """Both branches at rest (no speech, no expression) as one splat file."""
    parts = (avatar.face, avatar.mouth)
    cloud = SplatCloud(
        means=torch.cat([g.means for g in parts]).numpy(),
        scales=torch.cat([g.sigma() for g in parts]).numpy(),
        quaternions=torch.cat([g.quaternions for g in parts]).numpy(),
        opacities=torch.cat([g.opacity() for g in parts]).numpy(),
        colours=torch.cat([g.colors for g in parts]).numpy(),
    )
    return splat_ply(cloud)
