"""The CUDA wrappers, run on the CPU: gsplat's own code with its torch functions, a stand-in for tiny-cuda-nn.

What is gsplat's here: `rasterization` itself (so our arguments pass its own checks), its torch projection and its torch
compositing. What stands in: its CUDA tile index (every pixel meets every Gaussian, front to back) and nerfacc's sums.
"""

from __future__ import annotations

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
from core.splat.cuda import grid as cuda_grid
from core.splat.device import check_device, drawing_device, drawing_on
from core.splat.reference import growth_resolutions
from core.splat.scene import BenchmarkScene, benchmark_scene

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
    """Draw and differentiate with gsplat and natively; yields what has to be equal."""
    results = []
    for backend in ("cuda", "native"):
        leaves = [tensor.clone().requires_grad_() for tensor in scene.tensors()]
        drawn = rasterize(
            *leaves,
            scene.world_to_camera,
            scene.camera,
            background,
            geometry_channels=geometry_channels,
            backend=backend,
        )
        generator = torch.Generator().manual_seed(1)
        loss = (drawn.image * torch.randn(drawn.image.shape, generator=generator)).sum()
        (loss + alpha_weight * (drawn.alpha * torch.randn(drawn.alpha.shape, generator=generator)).sum()).backward()
        results.append((drawn, [leaf.grad for leaf in leaves]))
    (theirs, their_gradients), (ours, our_gradients) = results
    error = (theirs.image - ours.image).abs().flatten()
    assert error.quantile(0.999) <= 2e-5
    assert (theirs.alpha - ours.alpha).abs().flatten().quantile(0.999) <= 2e-5
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
    drawn.image[geometry_channels:].sum().backward()
    assert means.grad is None or not means.grad.any()
    assert colors.grad is not None
    assert colors.grad[:, geometry_channels:].any()


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
