"""Segmentation networks that a user brings: small TorchScript models with their interfaces stand in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.clip.layout import Label
from core.clip.parsers import CLASSES, open_parser
from core.errors import MissingModelError, UsageError
from core.settings import load_own_models
from tests.core.clip.own_models import TinySegmenter, save

SIDE = 256
NAMES = {
    "bisenet": "background skin l_brow r_brow l_eye r_eye eye_g l_ear r_ear ear_r nose mouth u_lip l_lip neck neck_l"
    " cloth hair hat",
    "segformer": "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r"
    " neck_l neck cloth",
    "sapiens": "background apparel face_neck hair left_foot left_hand left_lower_arm left_lower_leg left_shoe left_sock"
    " left_upper_arm left_upper_leg lower_clothing right_foot right_hand right_lower_arm right_lower_leg right_shoe"
    " right_sock right_upper_arm right_upper_leg torso upper_clothing lower_lip upper_lip lower_teeth upper_teeth"
    " tongue",
}
"""The classes in the order of the published models."""
FACE_PARTS = set(NAMES["bisenet"].split()[1:11]) | {"face_neck"}


def landmarks() -> np.ndarray:
    """A face whose forehead is at (128, 40) and chin at (128, 140); its oval is that line, its mouth a small box."""
    points = np.full((478, 3), 128.0, np.float32)
    points[10, :2], points[152, :2] = (128, 40), (128, 140)
    points[[78, 308, 13, 14], :2] = [(118, 112), (138, 112), (128, 108), (128, 116)]
    return points


def picture(number: int) -> np.ndarray:
    """A picture whose every pixel shows class `number` to a `TinySegmenter`."""
    return np.full((SIDE, SIDE, 3), (9 * number, 77, 200), np.uint8)


def parser(folder: Path, kind: str):
    classes = CLASSES[kind]
    network = TinySegmenter(
        len(classes.labels), classes.height, classes.width, float(classes.mean[0]), float(classes.deviation[0])
    )
    path = save(network, folder / f"{kind}.pt")
    return open_parser(load_own_models(parsing_model=path, parsing_classes=kind))


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_each_class_becomes_ours(kind: str, tmp_path: Path) -> None:
    found = parser(tmp_path, kind)
    names = NAMES[kind].split()
    assert len(names) == len(CLASSES[kind].labels)
    film = np.stack([picture(number) for number in range(len(names))])
    points = np.tile(landmarks(), (len(names), 1, 1))
    assert found.name == kind and found.learn([film[0]], [points[0]]) is None
    labels = list(found.parse(None, film, points, range(len(names))))
    assert labels[0].shape == (SIDE, SIDE) and labels[0].dtype == np.uint8
    at_the_cheek = {name: Label(int(one[90, 100])) for name, one in zip(names, labels, strict=True)}
    expected = {"background": Label.BACKGROUND, "hair": Label.HAIR, "hat": Label.HAIR, "tongue": Label.MOUTH}
    for name, label in at_the_cheek.items():
        if "lip" in name:
            assert label == Label.LIPS, name
        elif name in ("mouth", "lower_teeth", "upper_teeth"):
            assert label == Label.MOUTH, name
        elif name in expected:
            assert label == expected[name], name
        elif name in FACE_PARTS:
            assert label == Label.SKIN, name
        else:
            assert label == Label.TORSO, name


def test_a_neck_that_shares_the_faces_class_is_no_face(tmp_path: Path) -> None:
    film, points = picture(2)[None], landmarks()[None]
    found = next(parser(tmp_path, "sapiens").parse(None, film, points, range(1)))
    assert found[100, 128] == Label.SKIN and found[100, 60] == Label.SKIN, "cheek and ear"
    assert found[170, 128] == Label.TORSO, "neck"


def test_a_dark_cavity_is_mouth_though_the_network_calls_it_skin(tmp_path: Path) -> None:
    points = landmarks()
    points[[78, 95, 88, 178, 87, 14, 317, 402, 318, 324], :2] = np.stack(
        [np.linspace(118, 137, 10), np.full(10, 116)], 1
    )
    points[[308, 415, 310, 311, 312, 13, 82, 81, 80, 191], :2] = np.stack(
        [np.linspace(138, 119, 10), np.full(10, 108)], 1
    )
    found = next(parser(tmp_path, "bisenet").parse(None, picture(1)[None], points[None], range(1)))
    assert found[112, 128] == Label.MOUTH and found[100, 128] == Label.SKIN


def test_a_network_of_other_classes_is_refused(tmp_path: Path) -> None:
    mean, deviation = float(CLASSES["bisenet"].mean[0]), float(CLASSES["bisenet"].deviation[0])
    path = save(TinySegmenter(28, 512, 512, mean, deviation), tmp_path / "other.pt")
    other = open_parser(load_own_models(parsing_model=path, parsing_classes="bisenet"))
    with pytest.raises(MissingModelError) as refused:
        next(other.parse(None, picture(1)[None], landmarks()[None], range(1)))
    assert refused.value.code == "own_model_unusable" and "LIKENESS_PARSING_MODEL" in refused.value.message
    with pytest.raises(UsageError):
        load_own_models(parsing_classes="deeplab")


def test_without_a_network_it_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_PARSING_MODEL", "")
    assert open_parser(load_own_models()).name == "likeness"
