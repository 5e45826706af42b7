"""Who labels the frames of a clip: our own parsing, or a segmentation network that a user brings.

Knows which classes such networks have and what they are in ours; must not know poses, files of a clip or speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.canonical import FACE_OVAL, LIPS_INNER
from core.clip.face_frame import face_coordinates, polygon
from core.clip.layout import Label
from core.clip.parsing import Film, ParsingModel, fit_parsing, parse_film
from core.clip.person import PersonSegmenter
from core.clip.sapiens import SAPIENS_DEVIATION, SAPIENS_HEIGHT, SAPIENS_MEAN, SAPIENS_WIDTH
from core.clip.torchscript import TorchScript
from core.settings import OwnModels

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.floating]

_BELOW_THE_CHIN = -0.42
"""In face heights: skin further down is neck, where a network has one class for both."""


class Parser(Protocol):
    """Labels of a film of one person. Not for two threads at a time: each opens its own."""

    name: str
    """Stable, for reports."""

    def learn(self, pictures: list[Picture], landmarks: list[Points]) -> ParsingModel | None:
        """What key frames ([S, S, 3] each, with landmarks [478, 2+]) tell of the clip; None where nothing is needed."""

    def parse(self, model: ParsingModel | None, frames: Film, landmarks: Points, span: range) -> Iterator[Picture]:
        """Labels [S, S] of the frames of `span`, in order.

        Args:
            model: what any parser of this kind has learned from this clip.
            frames: `frames[f]` is a picture [S, S, 3]; one shot.
            landmarks: [T, 478, 2+] pixels.
            span: frames to parse; others may be looked at, and where a span begins and ends changes nothing.
        """


class OwnParser:
    """Place, colour and person mask (`core.clip.parsing`)."""

    name = "likeness"

    def __init__(self) -> None:
        """Raises MissingModelError where the person mask's model is not on this machine."""
        self._segmenter = PersonSegmenter()

    def learn(self, pictures: list[Picture], landmarks: list[Points]) -> ParsingModel | None:
        """See `fit_parsing`."""
        return fit_parsing(pictures, [one.astype(np.float32) for one in landmarks], self._segmenter)

    def parse(self, model: ParsingModel | None, frames: Film, landmarks: Points, span: range) -> Iterator[Picture]:
        """See `parse_film`."""
        if model is None:
            raise ValueError("our own parsing learns from key frames first")
        return parse_film(model, frames, landmarks, span, self._segmenter)


@dataclass(frozen=True)
class Classes:
    """What a kind of network was trained on."""

    labels: tuple[Label, ...]
    """Ours, for each of its classes."""
    height: int
    width: int
    """The input's size; pictures are stretched to it."""
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    """[3] of each channel, 0..255."""
    neck_is_face: bool = False
    """Whether face and neck are one class."""


_IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_IMAGENET_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_B, _H, _S, _L, _M, _T = Label.BACKGROUND, Label.HAIR, Label.SKIN, Label.LIPS, Label.MOUTH, Label.TORSO

# fmt: off
CLASSES = {
    # background, skin, brows, eyes, glasses, ears, earring, nose, mouth, lips, neck, necklace, cloth, hair, hat
    "bisenet": Classes(
        (_B, *[_S] * 10, _M, _L, _L, _T, _T, _T, _H, _H),
        512, 512, _IMAGENET_MEAN, _IMAGENET_DEVIATION,
    ),
    # background, skin, nose, glasses, eyes, brows, ears, mouth, lips, hair, hat, earring, necklace, neck, cloth
    "segformer": Classes(
        (_B, *[_S] * 9, _M, _L, _L, _H, _H, _S, _T, _T, _T),
        512, 512, _IMAGENET_MEAN, _IMAGENET_DEVIATION,
    ),
    # background, apparel, face and neck, hair, 19 parts of body and clothes, lips, teeth, tongue
    "sapiens": Classes(
        (_B, _T, _S, _H, *[_T] * 19, _L, _L, _M, _M, _M),
        SAPIENS_HEIGHT, SAPIENS_WIDTH, SAPIENS_MEAN, SAPIENS_DEVIATION, neck_is_face=True,
    ),
}
# fmt: on
"""By the value of LIKENESS_PARSING_CLASSES: CelebAMask-HQ's 19 classes in BiSeNet's order and in SegFormer's, and
Sapiens' 28."""


class NetworkParser:
    """A segmentation network in TorchScript: one picture in, logits [1, classes, h, w] out."""

    def __init__(self, path: Path, kind: str) -> None:
        """Open the network.

        Args:
            path: the TorchScript file.
            kind: a key of `CLASSES`.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`.
        """
        self.name = kind
        self._classes = CLASSES[kind]
        self._network = TorchScript(path, "LIKENESS_PARSING_MODEL")

    def learn(self, pictures: list[Picture], landmarks: list[Points]) -> ParsingModel | None:
        """Nothing: the network knows."""
        del pictures, landmarks
        return None

    def parse(self, model: ParsingModel | None, frames: Film, landmarks: Points, span: range) -> Iterator[Picture]:
        """Each frame by itself."""
        del model
        for number in span:
            yield self._labels(np.asarray(frames[number]), landmarks[number])

    def _labels(self, picture: Picture, landmarks: Points) -> Picture:
        kind, side = self._classes, len(picture)
        stretched = cv2.resize(picture, (kind.width, kind.height), interpolation=cv2.INTER_LINEAR)
        batch = ((stretched - kind.mean) / kind.deviation).transpose(2, 0, 1)[None]
        answer = self._network.run(np.asarray(batch, np.float32))
        fits = answer.ndim == 4 and answer.shape[:2] == (1, len(kind.labels))
        logits = self._network.expect(answer, fits)[0]
        resized = [cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in logits]
        labels = np.array(kind.labels, np.uint8)[np.argmax(resized, axis=0)]
        # A dark cavity is no class of any network: inside the inner lip line, what is no lip is mouth.
        labels[polygon(landmarks, LIPS_INNER, side, side) & (labels == Label.SKIN)] = Label.MOUTH
        if kind.neck_is_face:
            _, up = face_coordinates(landmarks, side, side)
            low = (up < _BELOW_THE_CHIN) & ~polygon(landmarks, FACE_OVAL, side, side)
            labels[low & (labels == Label.SKIN)] = Label.TORSO
        return np.asarray(labels, np.uint8)


def open_parser(models: OwnModels) -> Parser:
    """The network that the settings name, else our own parsing.

    Raises:
        MissingModelError: `model_missing`, `own_model_missing`, `own_model_unusable`.
    """
    if models.parsing_model is None:
        return OwnParser()
    return NetworkParser(models.parsing_model, models.parsing_classes)
