"""The CUDA wrappers: gsplat's kernels where there is a card; elsewhere its torch functions, and a stand-in for
tiny-cuda-nn.

What is gsplat's on the CPU: `rasterization` itself (so our arguments pass its own checks), its torch projection and its
torch compositing. What stands in: its tile index (every pixel meets every Gaussian, front to back) and nerfacc's sums.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import UsageError
from core.splat import cuda, encode_triplane, peer, rasterize
from core.splat.benchmark import bench_splat
from core.splat.cuda import grid as cuda_grid
from core.splat.device import check_device, drawing_device, drawing_on
from core.splat.reference import growth_resolutions
from core.splat.scene import BenchmarkScene, benchmark_scene

on_a_card = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None, reason="no CUDA device, or no gsplat"
)
NAMES = ("means", "quaternions", "scales", "opacities", "colors")


def use_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sys.modules["core.splat.cuda.rasterization"], cuda_grid):
        monkeypatch.setattr(module, "cuda_device", lambda *_: torch.device("cpu"))


@pytest.fixture
def gsplat_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """gsplat.rasterization with gsplat's torch functions in place of its CUDA kernels."""
    rendering = pytest.importorskip("gsplat.rendering")
    import gsplat.cuda._torch_impl as theirs

    def project(
        means: Tensor,
        covariances: None,
        quaternions: Tensor,
        scales: Tensor,
        views: Tensor,
        intrinsics: Tensor,
        width: int,
        height: int,
        **options: Any,
    ) -> Any:
        assert covariances is None
        assert not options["packed"]
        used = {name: options[name] for name in ("eps2d", "near_plane", "far_plane", "camera_model")}
        world, _ = theirs._quat_scale_to_covar_preci(quaternions, scales, compute_preci=False)
        return theirs._fully_fused_projection(means, world, views, intrinsics, width, height, **used)

    def tile_index(means2d: Tensor, radii: Tensor, depths: Tensor, *_: Any, **__: Any) -> Any:
        seen = torch.nonzero((radii[0] > 0).all(-1)).squeeze(-1)
        order = seen[torch.argsort(depths[0, seen], stable=True)]
        return torch.zeros_like(depths), order, order

    def tile_offsets(_: Tensor, images: int, tile_width: int, tile_height: int) -> Tensor:
        return torch.zeros(images, tile_height, tile_width, dtype=torch.int32)

    def composite(
        means2d: Tensor,
        conics: Tensor,
        colors: Tensor,
        opacities: Tensor,
        width: int,
        height: int,
        tile_size: int,
        offsets: Tensor,
        order: Tensor,
        backgrounds: Tensor | None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        gaussians, pixels = pairs(means2d[0], conics[0], opacities[0], order, width, height)
        image, alpha = theirs.accumulate(
            means2d, conics, opacities, colors, gaussians, pixels, torch.zeros_like(pixels), width, height
        )
        return image if backgrounds is None else image + backgrounds[:, None, None] * (1 - alpha), alpha

    for name, function in (
        ("fully_fused_projection", project),
        ("isect_tiles", tile_index),
        ("isect_offset_encode", tile_offsets),
        ("rasterize_to_pixels", composite),
    ):
        monkeypatch.setattr(rendering, name, function)
    nerfacc = types.ModuleType("nerfacc")
    nerfacc.__dict__.update(
        render_weight_from_alpha=peer._render_weight_from_alpha, accumulate_along_rays=peer._accumulate_along_rays
    )
    monkeypatch.setitem(sys.modules, "nerfacc", nerfacc)
    use_the_cpu(monkeypatch)


@torch.no_grad()
def pairs(
    means2d: Tensor, conics: Tensor, opacities: Tensor, order: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Stand-in for gsplat's index: (Gaussian, pixel) by pixel and front to back, with its thresholds."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    offset = torch.stack([x, y], -1).reshape(-1, 1, 2) - means2d[order]
    a, b, c = conics[order].unbind(-1)
    power = 0.5 * (a * offset[..., 0] ** 2 + c * offset[..., 1] ** 2) + b * offset[..., 0] * offset[..., 1]
    alpha = (opacities[order] * torch.exp(-power)).clamp_max(0.999)
    alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
    kept = (alpha > 0) & ((1 - alpha).cumprod(1) > 1e-4)
    pixel, rank = torch.nonzero(kept, as_tuple=True)
    return order[rank], pixel


def both(
    scene: BenchmarkScene, background: Tensor | None, geometry_channels: int | None, alpha_weight: float = 1.0
) -> Iterator[tuple[str, Tensor | None, Tensor | None]]:
    """Draw and differentiate with gsplat and natively; yields what has to be equal.

    Where a pair lies on a threshold, rounding decides whether it is drawn. The few pixels in which it decides otherwise
    are left out of the loss: each moves the gradients of a whole picture by up to a thousandth.
    """
    leaves = {name: [tensor.clone().requires_grad_() for tensor in scene.tensors()] for name in ("cuda", "native")}
    drawn = {
        name: rasterize(
            *own,
            scene.world_to_camera,
            scene.camera,
            background,
            geometry_channels=geometry_channels,
            backend=name,
        )
        for name, own in leaves.items()
    }
    theirs, ours = drawn["cuda"], drawn["native"]
    alike = torch.ones_like(ours.alpha, dtype=torch.bool)
    for their, our in ((theirs.image, ours.image), (theirs.maps, ours.maps), (theirs.alpha[None], ours.alpha[None])):
        alike &= ((their - our).abs() <= 2e-5).all(0)
    assert alike.float().mean() >= 0.999
    for picture in drawn.values():
        generator = torch.Generator().manual_seed(1)
        channels = torch.cat([picture.image, picture.maps])
        loss = (channels * alike * torch.randn(channels.shape, generator=generator)).sum()
        seen_through = (picture.alpha * alike * torch.randn(picture.alpha.shape, generator=generator)).sum()
        (loss + alpha_weight * seen_through).backward()
    their_gradients, our_gradients = ([leaf.grad for leaf in leaves[name]] for name in ("cuda", "native"))
    seen = ours.screen.visible
    assert seen.any()
    assert theirs.screen.visible[seen].all()
    assert torch.allclose(theirs.screen.means[seen], ours.screen.means[seen], atol=1e-3)
    assert theirs.screen.radii.shape == ours.screen.radii.shape
    assert (theirs.screen.radii[seen] >= ours.screen.radii[seen].floor()).all()
    yield "screen", theirs.screen.gradient, ours.screen.gradient
    yield from zip(NAMES, their_gradients, our_gradients, strict=True)


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("with_background", [False, True])
def test_gsplat_draws_and_differentiates_what_our_kernels_do(
    gsplat_on_cpu: None, channels: int, with_background: bool
) -> None:
    background = torch.linspace(0.1, 0.9, channels) if with_background else None
    for name, found, expected in both(benchmark_scene(150, 40, channels, seed=channels), background, None):
        assert found is not None, name
        assert expected is not None, name
        assert (found - expected).norm() <= 1e-3 * expected.norm(), name


@pytest.mark.parametrize("geometry_channels", [0, 3])
def test_attention_channels_do_not_reach_the_geometry_on_gsplat(gsplat_on_cpu: None, geometry_channels: int) -> None:
    scene, background = benchmark_scene(100, 32, 5), torch.linspace(0.1, 0.9, 5)
    for name, found, expected in both(scene, background, geometry_channels):
        assert found is not None, name
        assert expected is not None, name
        assert (found - expected).norm() <= 1e-3 * expected.norm(), name
    means, colors = scene.means.clone().requires_grad_(), scene.colors.clone().requires_grad_()
    rest = scene.quaternions, scene.scales, scene.opacities, colors, scene.world_to_camera, scene.camera
    drawn = rasterize(means, *rest, background, geometry_channels=geometry_channels, backend="cuda")
    drawn.maps.sum().backward()
    assert means.grad is None or not means.grad.any()
    assert colors.grad is not None
    assert colors.grad[:, geometry_channels:].any()


@pytest.mark.parametrize("with_background", [False, True])
def test_no_gaussians_leave_the_background_and_never_reach_gsplat(
    monkeypatch: pytest.MonkeyPatch, with_background: bool
) -> None:
    use_the_cpu(monkeypatch)
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"{name} is called"))
    scene, background = benchmark_scene(3, 17, 5), torch.linspace(0.1, 0.9, 5) if with_background else None
    drawn = {}
    for backend in ("cuda", "native"):
        leaves = [tensor[:0].clone().requires_grad_() for tensor in scene.tensors()]
        view = scene.world_to_camera, scene.camera, background
        drawn[backend] = rasterize(*leaves, *view, geometry_channels=3, backend=backend)
        (drawn[backend].image.sum() + drawn[backend].alpha.sum()).backward()
        assert all(leaf.grad is not None and leaf.grad.shape == leaf.shape for leaf in leaves)
    theirs, ours = drawn["cuda"], drawn["native"]
    assert torch.equal(theirs.image, ours.image)
    assert torch.equal(theirs.maps, ours.maps)
    assert torch.equal(theirs.alpha, ours.alpha)
    for name in ("means", "radii", "gradient"):
        assert getattr(theirs.screen, name).shape == getattr(ours.screen, name).shape


@on_a_card
@pytest.mark.parametrize("channels", [1, 3, 7, 16])
@pytest.mark.parametrize("with_background", [False, True])
@pytest.mark.parametrize(("count", "resolution"), [(1, 40), (150, 41), (20_000, 512), (200_000, 512)])
def test_a_card_draws_and_differentiates_what_our_kernels_do(
    count: int, resolution: int, with_background: bool, channels: int
) -> None:
    background = torch.linspace(0.1, 0.9, channels) if with_background else None
    for name, found, expected in both(benchmark_scene(count, resolution, channels, seed=channels), background, None):
        assert found is not None, name
        assert expected is not None, name
        assert (found - expected).norm() <= 1e-3 * expected.norm(), name


@on_a_card
@pytest.mark.parametrize("geometry_channels", [0, 3])
def test_attention_channels_do_not_reach_the_geometry_on_a_card(geometry_channels: int) -> None:
    scene, background = benchmark_scene(2000, 128, 5), torch.linspace(0.1, 0.9, 5)
    for name, found, expected in both(scene, background, geometry_channels):
        assert found is not None, name
        assert expected is not None, name
        assert (found - expected).norm() <= 1e-3 * expected.norm(), name
    leaves = [tensor.clone().cuda().requires_grad_() for tensor in scene.tensors()]
    drawn = rasterize(
        *leaves, scene.world_to_camera, scene.camera, background, geometry_channels=geometry_channels, backend="cuda"
    )
    drawn.maps.sum().backward()
    for leaf in leaves[:-1]:
        assert leaf.grad is None or not leaf.grad.any()
    colors = leaves[-1].grad
    assert colors is not None
    assert colors[:, geometry_channels:].any()
    assert not colors[:, :geometry_channels].any()


@on_a_card
def test_results_lie_where_the_inputs_do() -> None:
    scene = benchmark_scene(500, 64, 3)
    for device in ("cpu", "cuda"):
        leaves = [tensor.clone().to(device).requires_grad_() for tensor in scene.tensors()]
        drawn = rasterize(*leaves, scene.world_to_camera, scene.camera, backend="cuda")
        (drawn.image.sum() + drawn.alpha.sum()).backward()
        assert drawn.screen.gradient is not None
        screen = drawn.screen.means, drawn.screen.radii, drawn.screen.visible, drawn.screen.gradient
        found = (drawn.image, drawn.alpha, *screen, *(leaf.grad for leaf in leaves))
        assert {tensor.device.type for tensor in found if tensor is not None} == {device}
        assert all(leaf.grad is not None for leaf in leaves)


@on_a_card
@pytest.mark.parametrize("case", ["none", "behind", "clear", "far aside", "one pixel"])
def test_a_card_draws_what_is_hardly_there(case: str) -> None:
    scene = benchmark_scene(20, 1 if case == "one pixel" else 33, 3)
    tensors = [tensor.clone() for tensor in scene.tensors()]
    if case == "none":
        tensors = [tensor[:0] for tensor in tensors]
    elif case == "behind":
        tensors[0][:, 2] = -10
    elif case == "clear":
        tensors[3].zero_()
    elif case == "far aside":
        tensors[0][:, 0] += 100
    drawn = {}
    for backend in ("cuda", "native"):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        background = torch.tensor([0.2, 0.4, 0.6])
        drawn[backend] = rasterize(*leaves, scene.world_to_camera, scene.camera, background, backend=backend)
        drawn[backend].image.sum().backward()
        for leaf in leaves:
            assert leaf.grad is None or leaf.grad.isfinite().all()
    assert torch.allclose(drawn["cuda"].image, drawn["native"].image, atol=2e-5)
    visible = drawn["cuda"].screen.visible
    assert visible.any() == (case == "one pixel")
    assert visible[drawn["native"].screen.visible].all()


@on_a_card
def test_two_pictures_may_wait_for_one_backward_on_a_card() -> None:
    scene = benchmark_scene(300, 48, 3)
    gradients = []
    for backend in ("cuda", "native"):
        means = scene.means.clone().requires_grad_()
        rest = scene.quaternions, scene.scales, scene.opacities, scene.colors, scene.world_to_camera, scene.camera
        first, second = (rasterize(means + shift, *rest, backend=backend) for shift in (0.0, 0.05))
        (first.image * second.image).sum().backward()
        assert means.grad is not None
        gradients.append(means.grad)
    assert (gradients[0] - gradients[1]).norm() <= 1e-3 * gradients[1].norm()


@on_a_card
def test_the_bench_measures_a_card_with_tensors_on_it_and_beside_it() -> None:
    rows = bench_splat(30, 16, 2, 1, anchor=False, cuda=True)
    assert [row.backend for row in rows[1:]] == ["gsplat-cuda", "gsplat-cuda-from-cpu"]
    assert all(row.forward_backward_ms > 0 and row.floor_ms is None for row in rows[1:])


def test_without_nvcc_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = types.ModuleType("gsplat.cuda._backend")
    backend.__dict__["_C"] = None  # what gsplat leaves there
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: types.SimpleNamespace())
    cuda.cuda_device.cache_clear()
    with pytest.raises(UsageError) as caught:
        cuda.cuda_device()
    assert caught.value.code == "cuda_unavailable"
    assert "nvcc" in caught.value.hint


def test_the_chosen_device_is_what_rasterize_draws_on(gsplat_on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["core.splat.cuda"], "cuda_device", lambda *_: torch.device("cpu"))
    drawn: list[str] = []
    whole = cuda.rasterize
    monkeypatch.setattr(cuda, "rasterize", lambda *inputs: drawn.append("gsplat") or whole(*inputs))
    scene = benchmark_scene(20, 16)
    with drawing_on("cuda"):
        assert drawing_device() == "cuda"
        rasterize(*scene.tensors(), scene.world_to_camera, scene.camera)
        rasterize(*scene.tensors(), scene.world_to_camera, scene.camera, backend="native")
    assert drawn == ["gsplat"]
    assert drawing_device() == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = benchmark_scene(5, 16)
    calls = (
        lambda: rasterize(*scene.tensors(), scene.world_to_camera, scene.camera, backend="cuda"),
        lambda: encode_triplane(
            torch.zeros(1, 3), torch.zeros(3, 1, 25), torch.tensor([4], dtype=torch.int32), 1.0, backend="cuda"
        ),
        lambda: check_device("cuda"),
        lambda: bench_splat(5, 16, 3, 1, anchor=False, cuda=True),
        lambda: drawing_on("cuda").__enter__(),
    )
    for installed in (True, False):
        spec = types.SimpleNamespace() if installed else None
        monkeypatch.setattr("importlib.util.find_spec", lambda _name, found=spec: found)
        for call in calls:
            with pytest.raises(UsageError) as caught:
                call()
            assert caught.value.code == "cuda_unavailable"
            assert ("CUDA build" in caught.value.hint) == installed
            assert "--device cpu" in caught.value.hint
    with pytest.raises(UsageError) as unknown:
        check_device("tpu")
    assert unknown.value.code == "device_unavailable"


class StandInEncoding(torch.nn.Module):
    """Stand-in for `tinycudann.Encoding`, written from its documented dense grid; it is not tiny-cuda-nn's code."""

    def __init__(self, n_input_dims: int, encoding_config: dict[str, Any], seed: int = 1337, dtype: Any = None) -> None:
        super().__init__()
        assert n_input_dims == 2
        assert dtype == torch.float32
        assert encoding_config["otype"] == "DenseGrid"
        assert encoding_config["n_levels"] == encoding_config["n_features_per_level"] == 1
        self.scale = encoding_config["base_resolution"] - 1.0
        self.resolution = math.ceil(self.scale) + 1
        size = (self.resolution**2 + 7) // 8 * 8
        self.params = torch.nn.Parameter(torch.zeros(size))
        self.n_output_dims = 1

    def forward(self, x: Tensor) -> Tensor:
        position = x * self.scale + 0.5
        corner = position.detach().floor()
        fraction = position - corner
        result = torch.zeros(len(x))
        for dx in (0, 1):
            for dy in (0, 1):
                index = (corner[:, 0] + dx + (corner[:, 1] + dy) * self.resolution).long() % len(self.params)
                weight_x = fraction[:, 0] if dx else 1 - fraction[:, 0]
                weight_y = fraction[:, 1] if dy else 1 - fraction[:, 1]
                result = result + weight_x * weight_y * self.params[index]
        return result[:, None]


def test_tiny_cuda_nn_s_grid_gives_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = types.ModuleType("tinycudann")
    stand_in.__dict__["Encoding"] = StandInEncoding
    monkeypatch.setitem(sys.modules, "tinycudann", stand_in)
    use_the_cpu(monkeypatch)
    cuda_grid._level.cache_clear()
    generator = torch.Generator().manual_seed(0)
    resolutions = torch.tensor(growth_resolutions(16, 38.4, 12), dtype=torch.int32)
    points = (torch.rand(200, 3, generator=generator) - 0.5) * 0.32  # some outside the bound of 0.15
    points[0], points[1] = 0.2, -0.2  # both corners of the grid
    table = torch.randn(3, 12, 1700, generator=generator)
    upstream = torch.randn(200, 36, generator=generator)
    results = []
    for backend in ("cuda", "native"):
        leaves = points.clone().requires_grad_(), table.clone().requires_grad_()
        features = encode_triplane(*leaves, resolutions, 0.15, backend=backend)
        (features * upstream).sum().backward()
        results.append((features, *(leaf.grad for leaf in leaves)))
    cuda_grid._level.cache_clear()
    features, points_gradient, table_gradient = (list(pair) for pair in zip(*results, strict=True))
    assert torch.allclose(*features, atol=2e-5)
    for theirs, ours in (points_gradient, table_gradient):
        assert theirs is not None
        assert ours is not None
        assert (theirs - ours).norm() <= 1e-4 * ours.norm()
