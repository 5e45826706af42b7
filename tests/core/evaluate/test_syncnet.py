"""SyncNet as its authors describe it, with weights of our own: the real ones come in no package."""

from __future__ import annotations

import os
import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from core.clip.landmarks import Face
from core.errors import MissingModelError
from core.evaluate.lip_sync import LipSync
from core.evaluate.syncnet import CROP, SETTING, SyncNet, best_offset

FRAMES = 30


@pytest.fixture(scope="module")
def network() -> SyncNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SyncNet()


@pytest.fixture(scope="module")
def weights(network: SyncNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    return path


def test_parameters_are_named_and_shaped_as_published(network: SyncNet) -> None:
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    published = {
        "netcnnlip.0.weight": (96, 3, 5, 7, 7),
        "netcnnlip.4.weight": (256, 96, 1, 5, 5),
        "netcnnlip.18.weight": (512, 256, 1, 6, 6),
        "netcnnlip.19.running_var": (512,),
        "netcnnaud.4.weight": (192, 64, 3, 3),
        "netcnnaud.14.weight": (256, 256, 3, 3),
        "netcnnaud.18.weight": (512, 256, 5, 4),
        "netfclip.0.weight": (512, 512),
        "netfcaud.3.weight": (1024, 512),
    }
    assert {name: shapes[name] for name in published} == published


def test_weights_come_back(network: SyncNet, weights: Path) -> None:
    again = SyncNet.load(weights)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.putenv, ("LIKENESS_WAS_HARMED", "1")


@pytest.mark.parametrize("kind", ["missing", "text", "other", "harmful"])
def test_what_is_no_syncnet_is_refused_and_nothing_in_it_runs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    if kind == "text":
        path.write_text("not a model")
    elif kind == "other":
        torch.save({"weight": torch.zeros(3)}, path)
    elif kind == "harmful":
        path.write_bytes(pickle.dumps(_Harmful(), protocol=2))
    with pytest.raises(MissingModelError) as caught:
        SyncNet.load(path)
    assert caught.value.code == ("own_model_missing" if kind == "missing" else "own_model_unusable")
    assert SETTING in caught.value.message


def test_every_five_frames_are_seen_as_if_alone(network: SyncNet) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (FRAMES, CROP, CROP, 3), np.uint8)
    seen = network.see(faces)
    assert seen.shape == (FRAMES - 4, 1024)
    for start in (0, 23, 25):
        assert torch.allclose(seen[start], network.see(faces[start : start + 5])[0], atol=1e-4)


def test_the_sound_beside_frame_f_begins_with_it(network: SyncNet) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 640 * FRAMES).astype(np.float32)
    heard = network.hear(sound, FRAMES)
    assert heard.shape == (FRAMES - 4, 1024)
    later = network.hear(sound[640 * 7 :], FRAMES - 7)
    assert torch.allclose(heard[8], later[1], atol=1e-3), "but for the first sample's pre-emphasis"
    silent = sound.copy()
    silent[: 640 * 8] = 0
    assert torch.allclose(network.hear(silent, FRAMES)[9], heard[9], atol=1e-3)
    assert not torch.allclose(network.hear(silent, FRAMES)[7], heard[7], atol=1e-3)


@pytest.mark.parametrize("late", [-6, 0, 4])
def test_the_offset_is_where_both_agree_best(late: int) -> None:
    generator = torch.Generator().manual_seed(2)
    told = torch.randn(80, 16, generator=generator)
    seen, heard = told[20:60], told[20 - late : 60 - late] + 0.01
    found = best_offset(seen, heard)
    assert found.offset == -late
    distances = []
    for shift in range(-15, 16):
        rows = [heard[k + shift] if 0 <= k + shift < len(heard) else torch.zeros(16) for k in range(len(seen))]
        distances.append(float((seen - torch.stack(rows) + 1e-6).norm(dim=1).mean()))
    assert found.distance == pytest.approx(min(distances), rel=1e-5)
    assert found.confidence == pytest.approx(float(np.median(distances)) - min(distances), rel=1e-5)


def face(x: float, y: float) -> Face:
    points = np.zeros((478, 3), np.float32)
    points[:468, 0] = x + 20 * np.cos(np.arange(468))
    points[:468, 1] = y + 30 * np.sin(np.arange(468))
    return Face(points, np.zeros(52, np.float32), 1.0)


def test_a_test_is_judged_as_rendered_and_as_recorded(weights: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    with wave.open(str(tmp_path / "audio.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((3000 * generator.normal(size=640 * 12)).astype("<i2").tobytes())
    judged = LipSync(weights)
    pictures = generator.integers(0, 256, (12, 128, 128, 3), np.uint8)
    for number, picture in enumerate(pictures):
        judged.add(picture, picture, None if number == 5 else face(60, 60), face(60, 60))
    assert judged.asked
    report, reason = judged.report(tmp_path / "audio.wav")
    assert reason is None
    assert report is not None
    assert set(report) == {"rendered", "recorded"}
    assert report["rendered"] == report["recorded"], "the frame without a face looks where the last one was"
    assert set(report["rendered"]) == {"confidence", "distance", "offset"}  # type: ignore[call-overload]


def test_without_weights_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    idle = LipSync()
    idle.add(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), face(4, 4), face(4, 4))
    assert not idle.asked
    assert idle.report(Path("nowhere")) == (None, f"{SETTING} names no weights.")
