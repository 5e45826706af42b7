"""The bench measures the right thing: its pair index draws the same picture, its rows carry the promised keys."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from core.splat import library, peer, rasterize
from core.splat.benchmark import SplatResult, bench_splat, bench_step
from core.splat.chart import draw_times
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
    assert [row.kernel for row in bench_step(40, 16, 1)] == ["grid", "network", "ssim", "lpips", "iteration"]


def test_the_plot_has_a_line_for_each_resolution_and_falls_where_times_fall(tmp_path: Path) -> None:
    rows = [
        SplatResult("native", size, count, 3, count * size * 1e-5, count * size * 3e-5, 2, 1, 1, None, None)
        for size in (128, 512)
        for count in (1000, 10_000, 200_000)
    ]
    draw_times(rows, tmp_path / "times.svg")
    root = ElementTree.parse(tmp_path / "times.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.attrib["points"] for line in root.findall(f"{space}polyline")]
    assert len(lines) == 4
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # longer is higher up
    words = {text.text for text in root.findall(f"{space}text")}
    assert {"128 px", "512 px", "1k", "10k", "100k", "Gaussians"} <= words
    with pytest.raises(ValueError, match="positive"):
        draw_times([], tmp_path / "empty.svg")


def test_flops_and_floor_follow_from_the_pairs() -> None:
    (row,) = bench_splat(200, 48, 3, 1, anchor=False)
    assert row.flops == 86 * row.pairs > 0
    if row.peak_gflops is not None:
        assert row.floor_ms == pytest.approx(row.flops / row.peak_gflops * 1e-6)
