"""An avatar: two branches of Gaussians with their motion fields, as tensors and back. Knows no files and no frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.avatar.gaussians import Gaussians
from core.avatar.motion import FaceField, MouthField


@dataclass(frozen=True)
class Avatar:
    """Everything person-specific that synthesis needs, without the recorded portrait."""

    face: Gaussians
    face_field: FaceField
    mouth: Gaussians
    mouth_field: MouthField
    rest: Tensor | None = None
    """[8, 16, 64] speech windows at which this mouth is shut: what it hears in silence. None: silence as it sounds."""
    moving: int | None = None
    """How many of the face's Gaussians, its first, the field moves; others, away from the face, stand. None: all."""

    def to_tensors(self) -> dict[str, Tensor]:
        """Named contiguous tensors: `face.means`, `face_field.grid.table`, ..."""
        return {
            **branch_tensors("face", self.face, self.face_field),
            **branch_tensors("mouth", self.mouth, self.mouth_field),
            **({} if self.rest is None else {"rest": self.rest.contiguous()}),
            **({} if self.moving is None else {"moving": torch.tensor(self.moving)}),
        }

    def metadata(self) -> dict[str, str]:
        """What a reader needs to build the modules before it fills them."""
        return {
            "face_hidden": str(self.face_field.layers[0].shape[0]),
            "face_aligned": str(int(self.face_field.aligner is not None)),
            "face_lids": str(int(self.face_field.lids is not None)),
            "mouth_hidden": str(self.mouth_field.layers[0].shape[0]),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Avatar:
        """The avatar that `to_tensors` and `metadata` came from, frozen.

        Raises:
            KeyError, RuntimeError: names or shapes that don't fit (the bundle reader turns them into its own error).
        """
        face_field = FaceField(
            int(metadata["face_hidden"]),
            aligned=metadata["face_aligned"] == "1",
            lids=metadata.get("face_lids") == "1",
        )
        mouth_field = MouthField(int(metadata["mouth_hidden"]))
        face = load_branch("face", tensors, face_field)
        mouth = load_branch("mouth", tensors, mouth_field)
        face_field.requires_grad_(False)
        mouth_field.requires_grad_(False)
        moving = int(tensors["moving"]) if "moving" in tensors else None
        return Avatar(face.frozen(), face_field, mouth.frozen(), mouth_field, tensors.get("rest"), moving)


def branch_tensors(name: str, gaussians: Gaussians, field: nn.Module) -> dict[str, Tensor]:
    """One branch as named, detached, contiguous tensors."""
    tensors = {f"{name}.{key}": value for key, value in gaussians.tensors().items()}
    tensors |= {f"{name}_field.{key}": value for key, value in field.state_dict().items()}
    return {key: value.detach().contiguous() for key, value in tensors.items()}


def load_branch(name: str, tensors: dict[str, Tensor], field: nn.Module) -> Gaussians:
    """Fill `field` in place from `branch_tensors` and return the branch's Gaussians."""
    state = {key.split(".", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{name}_field.")}
    field.load_state_dict(state)
    names = ("means", "quaternions", "scales", "opacities", "colors")
    return Gaussians(**{key: tensors[f"{name}.{key}"].clone() for key in names})
