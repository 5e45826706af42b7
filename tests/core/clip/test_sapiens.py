"""Depth and normals from models that a user brings: a small TorchScript model with Sapiens' interface stands in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.camera import Camera
from core.clip.canonical import canonical_face
from core.clip.layout import Label
from core.clip.priors import MeshPrior, View, choose_prior
from core.clip.sapiens import sapiens_input
from core.errors import MissingModelError, UsageError
from core.settings import load_own_models
from tests.core.clip.own_models import TinySapiens, save

MEAN, DEVIATION = np.array([123.5, 116.5, 103.5]), np.array([58.5, 57.0, 57.5])


@pytest.fixture
def view() -> View:
    """A face before a camera; the picture's colours hold its normals (as (n + 1) / 2) and nothing else."""
    camera = Camera.centred(450.0, 256)
    rotation, translation = np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.6])
    seen = canonical_face().vertices @ rotation.T + translation
    landmarks = np.full((478, 3), 128.0)
    landmarks[:468, :2] = seen[:, :2] / seen[:, 2:] * camera.fx + 128
    empty = View(
        np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8), landmarks, rotation, translation, camera
    )
    mesh = MeshPrior().look(empty)
    picture = np.round((mesh.normal + 1) * 127.5).astype(np.uint8)
    labels = np.where(mesh.valid, np.uint8(Label.SKIN), np.uint8(Label.BACKGROUND))
    labels[100:110, 120:140] = Label.MOUTH
    return View(picture, labels, landmarks, rotation, translation, camera)


def configured(folder: Path, turned: tuple[float, float, float], nearer: float):
    """A prior whose normal model reads the picture's colours, some axes turned, 0.3 long; depth is their green."""
    normal = [[0.3 * DEVIATION[i] / 127.5 * turned[i] * (i == j) for j in range(3)] for i in range(3)]
    offset = [0.3 * (MEAN[i] / 127.5 - 1) * turned[i] for i in range(3)]
    depth = save(TinySapiens([[0.0, 0.0, nearer]], [5.0]), folder / "depth.pt2")
    return choose_prior(
        load_own_models(sapiens_depth=depth, sapiens_normal=save(TinySapiens(normal, offset), folder / "normal.pt2"))
    )


def test_the_input_is_stretched_and_normalised() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = [255, 128, 1]
    found = sapiens_input(picture)
    assert found.shape == (1, 3, 1024, 768) and found.dtype == np.float32
    assert np.allclose(found[0, :, 500, 10], -MEAN / DEVIATION)
    assert np.allclose(found[0, :, 500, 760], (np.array([255, 128, 1]) - MEAN) / DEVIATION)


@pytest.mark.parametrize("turned", [(1.0, 1.0, 1.0), (1.0, -1.0, -1.0)])
def test_normals_come_back_in_camera_space_whichever_way_the_models_axes_point(view, turned, tmp_path: Path) -> None:
    prior = configured(tmp_path, turned, 1.0)
    assert prior.name == "sapiens"
    found, mesh = prior.look(view), MeshPrior().look(view)
    assert np.allclose(np.linalg.norm(found.normal[found.valid], axis=-1), 1, atol=1e-4)
    inner = np.zeros((256, 256), bool)
    inner[90:150, 100:156] = True
    inner &= found.valid & mesh.valid
    assert inner.sum() > 1500
    assert np.median((found.normal * mesh.normal).sum(-1)[inner]) > 0.995
    assert np.array_equal(found.valid, view.labels == Label.SKIN), "on the person, without the mouth's interior"
    assert not found.metric


def test_depth_grows_away_from_the_camera_whatever_the_models_sense(view, tmp_path: Path) -> None:
    one, other = configured(tmp_path, (1, 1, 1), 1.0).look(view), configured(tmp_path, (1, 1, 1), -1.0).look(view)
    valid, mesh = one.valid, MeshPrior().look(view)
    for found in (one, other):
        assert np.corrcoef(found.depth[valid], mesh.depth[valid])[0, 1] > 0
    assert np.allclose(np.abs(one.depth - other.depth)[valid], 10, atol=1e-3), "raw values, but for their sign"


def test_without_a_model_it_is_the_mesh(view) -> None:
    prior = choose_prior(load_own_models())
    assert prior.name == "mesh" and prior.look(view).metric


def test_half_a_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_SAPIENS_DEPTH", str(tmp_path / "depth.pt2"))
    with pytest.raises(UsageError) as refused:
        load_own_models()
    assert refused.value.code == "bad_settings" and "LIKENESS_SAPIENS_NORMAL" in refused.value.message


def test_a_missing_a_damaged_and_a_wrong_model_are_told_apart(view, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(b"no model")
    depth = save(TinySapiens([[1.0, 0.0, 0.0]], [0.0]), tmp_path / "depth.pt2")
    for path, code in ((tmp_path / "absent.pt2", "own_model_missing"), (damaged, "own_model_unusable")):
        with pytest.raises(MissingModelError) as refused:
            choose_prior(load_own_models(sapiens_depth=path, sapiens_normal=path))
        assert refused.value.code == code and "LIKENESS_SAPIENS_DEPTH" in refused.value.message
        assert str(tmp_path) not in refused.value.message
    with pytest.raises(MissingModelError) as refused:
        choose_prior(load_own_models(sapiens_depth=depth, sapiens_normal=depth)).look(view)
    assert refused.value.code == "own_model_unusable" and "LIKENESS_SAPIENS_NORMAL" in refused.value.message
