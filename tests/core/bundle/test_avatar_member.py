"""The avatar survives its file to the bit, and a forged one is refused before it is used."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from core.avatar import Avatar, FaceField, Gaussians, MouthField
from core.avatar.lids import empty_lids
from core.bundle.avatar_member import avatar_bytes, head_ply, parse_avatar
from core.errors import BundleError


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    torch.manual_seed(0)
    branches = [Gaussians.at(torch.rand(n, 3) * 0.1, torch.rand(n, 3), torch.full((n,), 0.004), 0.4) for n in (40, 15)]
    face, mouth = (branch.frozen() for branch in branches)
    field = FaceField(lids=True)
    field.lids = torch.rand_like(empty_lids())
    return Avatar(face, field, mouth, MouthField(), rest=torch.rand(8, 16, 64), moving=30)


@pytest.fixture(scope="module")
def written(avatar: Avatar) -> bytes:
    return avatar_bytes(avatar)


def test_every_tensor_comes_back(avatar: Avatar, written: bytes) -> None:
    again = parse_avatar(written).to_tensors()
    assert again.keys() == avatar.to_tensors().keys()
    for name, tensor in avatar.to_tensors().items():
        assert torch.equal(again[name], tensor)


def test_the_ply_holds_both_branches(avatar: Avatar) -> None:
    data = head_ply(avatar)
    assert b"element vertex 55\n" in data
    body = np.frombuffer(data.partition(b"end_header\n")[2], "<f4").reshape(55, 17)
    np.testing.assert_array_equal(body[:40, :3], avatar.face.means.numpy())
    np.testing.assert_allclose(np.exp(body[:, 10:13]), 0.004, rtol=1e-4)
    np.testing.assert_allclose(1 / (1 + np.exp(-body[:, 9])), 0.4, rtol=1e-5)


def with_header(data: bytes, header: dict[str, object]) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def forged(data: bytes, how: str) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = load(data)
    metadata = header["__metadata__"]
    if how == "not finite":
        tensors["face.means"][3, 1] = float("nan")
    elif how == "missing tensor":
        del tensors["mouth.scales"]
    elif how == "wrong shape":
        tensors["face.opacities"] = tensors["face.opacities"][:-1]
    elif how == "wrong rest":
        tensors["rest"] = tensors["rest"][:-1]
    elif how == "wrong lids":
        tensors["face_field.lids"] = tensors["face_field.lids"][:2]
    elif how == "nothing says that there are lids":
        metadata["face_lids"] = "0"
    elif how == "more move than there are":
        tensors["moving"] = torch.tensor(41)
    elif how == "nothing says how many move":
        tensors["moving"] = torch.zeros(2)
    elif how == "wrong type":
        tensors["face.colors"] = tensors["face.colors"].double()
    elif how == "no Gaussians":
        tensors |= {name: tensor[:0] for name, tensor in tensors.items() if name.startswith("face.")}
    elif how == "huge field":
        metadata["face_hidden"] = "2000000000"
    elif how == "negative field":
        metadata["face_hidden"] = "-4"
    elif how == "no metadata":
        metadata = {}
    elif how == "metadata is a list":
        return with_header(data, {**header, "__metadata__": [1]})
    return save(tensors, metadata)


@pytest.mark.parametrize(
    "how",
    [
        *("not finite", "missing tensor", "wrong shape", "wrong rest", "wrong type", "no Gaussians"),
        *("more move than there are", "nothing says how many move", "wrong lids", "nothing says that there are lids"),
        *("huge field", "negative field", "no metadata", "metadata is a list"),
    ],
)
def test_a_forged_avatar_is_damaged(written: bytes, how: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_avatar(forged(written, how))
    assert caught.value.code == "bundle_damaged"


@pytest.mark.parametrize("data", [b"", b"\x80\x04\x95pickle", b"\xff" * 64, struct.pack("<Q", 2**40) + b"{}"])
def test_other_bytes_are_damaged(data: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        parse_avatar(data)
    assert caught.value.code == "bundle_damaged"
