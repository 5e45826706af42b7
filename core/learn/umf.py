"""The universal motion field as a file: one safetensors, its card in the metadata. Knows no training.

Tensors are called `face.*` and, where the file has a mouth field, `mouth.*`. A name means a file that ships with the
product (`base`); anything else is a path; `none` means from scratch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from core.avatar import FaceField, MouthField
from core.clip.speech import REDUCED_DIMENSION, speech_encoder
from core.errors import BundleError, UsageError
from core.learn.tensor_file import read_tensors, write_tensors

FORMAT = "2.0"
SHIPPED = Path(__file__).parent / "umfs"
NONE = "none"


@dataclass(frozen=True)
class UmfCard:
    """What a field says of itself."""

    format_version: str
    speech_features: str
    speech_dimension: int
    face_hidden: int
    corpus: dict[str, float]
    """Seconds of footage by clip name."""
    iterations: int
    """Of the regression."""
    project_version: str
    licence: str
    mouth_hidden: int = 0
    """0: the file has no mouth field, and a mouth is learned from scratch."""
    photometric: dict[str, int] = field(default_factory=dict)
    """Iterations by stage (`face`, `mouth`); a stage that left the universal field as it was counts none."""


FieldT = TypeVar("FieldT", FaceField, MouthField)


@dataclass(frozen=True)
class Umf:
    """A universal motion field, ready to be adapted."""

    name: str
    sha256: str
    card: UmfCard
    path: Path

    def face_field(self) -> FaceField:
        """The field behind a fresh motion aligner (whose start torch's seed decides)."""
        return self._filled(FaceField(self.card.face_hidden, aligned=True), "face.")

    def mouth_field(self) -> MouthField | None:
        """The mouth's field; None where the file has none."""
        if self.card.mouth_hidden == 0:
            return None
        return self._filled(MouthField(self.card.mouth_hidden), "mouth.")

    def _filled(self, into: FieldT, prefix: str) -> FieldT:
        tensors, _ = read_tensors(self.path)
        state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        missing = into.load_state_dict(state, strict=False)
        if missing.unexpected_keys or any(not name.startswith("aligner.") for name in missing.missing_keys):
            raise BundleError("umf_damaged", f"The motion field '{self.name}' does not fit.", "Make or fetch it anew.")
        return into


def learn_only(field: FaceField, *, aligner: bool) -> None:
    """Let gradients reach the motion aligner alone, or everything but it."""
    for name, parameter in field.named_parameters():
        parameter.requires_grad_(name.startswith("aligner.") == aligner)


def write_umf(path: Path, face: FaceField, mouth: MouthField | None, card: UmfCard) -> None:
    """Write the fields, without an aligner; the file appears whole or not at all."""
    tensors = _named("face.", face) | ({} if mouth is None else _named("mouth.", mouth))
    write_tensors(path, tensors, {"card": json.dumps(asdict(card), sort_keys=True)})


def _named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items()}


def find_umf(name: str) -> Umf | None:
    """The field of this name or path; None for `none`.

    Raises:
        UsageError: `umf_unknown`.
        BundleError: `umf_damaged`, `umf_version_unknown`, `umf_of_other_speech`.
    """
    if name == NONE:
        return None
    path = SHIPPED / f"{name}.safetensors"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join([NONE, *shipped_umfs()])
        raise UsageError("umf_unknown", f"There is no motion field '{name}'.", f"Choose one of {known}, or a file.")
    card = _read_card(path)
    if card.format_version.split(".")[0] != FORMAT.split(".")[0]:
        raise BundleError(
            "umf_version_unknown",
            f"The motion field '{name}' has format {card.format_version}; this version reads {FORMAT}.",
            "Use a newer Likeness, or another field.",
        )
    heard = speech_encoder().name
    if (card.speech_features, card.speech_dimension) != (heard, REDUCED_DIMENSION):
        raise BundleError(
            "umf_of_other_speech",
            f"The motion field '{name}' listens to {card.speech_features}, the speech features in use are {heard}.",
            "Use a field that was trained on the same speech features, or set LIKENESS_SPEECH_FEATURES to its own.",
        )
    return Umf(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), card, path)


def shipped_umfs() -> list[str]:
    """Names of the fields that ship with the product."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def _read_card(path: Path) -> UmfCard:
    try:
        with safe_open(path, framework="pt") as file:
            return UmfCard(**json.loads((file.metadata() or {})["card"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError("umf_damaged", f"{path.name} is no motion field.", "Check the file.") from error
