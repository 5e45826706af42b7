"""The bench measures the right thing: its pair index draws the same picture, its rows carry the promised keys."""

from __future__ import annotations

import pytest
import torch

from core.splat import library, peer, rasterize
from core.splat.benchmark import bench_splat, bench_step
from core.splat.scene import benchmark_scene


def test_the_pair_index_draws_the_same_picture() -> None:
    scene = benchmark_scene(120, 40, 3)
    pairs = peer.contributing_pairs(scene)
    drawn = rasterize(*scene.tensors(), scene.world_to_camera, scene.camera)
    # A pixel is touched exactly where some pair names it.
    touched = torch.zeros(40 * 40, dtype=torch.bool)
    touched[pairs.pixels] = True
    assert torch.equal(touched, drawn.alpha.flatten() > 0)
    assert (pairs.pixels[1:] >= pairs.pixels[:-1]).all()


def test_gsplat_s_own_torch_code_draws_the_same_picture() -> None:
    pytest.importorskip("gsplat", reason="gsplat is optional")
    scene = benchmark_scene(300, 64, 3)
    image, alpha = peer.renderer(scene, peer.contributing_pairs(scene))(*scene.tensors())
    drawn = rasterize(*scene.tensors(), scene.world_to_camera, scene.camera)
    error = (image.permute(2, 0, 1) - drawn.image).abs().flatten()
    assert error.quantile(0.999) <= 2e-5
    assert (alpha - drawn.alpha).abs().quantile(0.999) <= 2e-5


def test_rows_carry_the_promised_keys() -> None:
    rows = [row.as_dict() for row in bench_splat(30, 16, 2, 1, anchor=True)]
    assert len(rows) == 2
    promised = {"backend", "resolution", "gaussians", "channels", "forward_ms", "forward_backward_ms", "threads"}
    for row in rows:
        assert promised <= row.keys()
    assert rows[0]["backend"] == library.backend_name()
    assert [row.kernel for row in bench_step(40, 16, 1)] == ["grid", "network", "ssim", "iteration"]
