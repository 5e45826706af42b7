"""What happens with wrong, extreme and empty input: a clear error or a finite picture, never a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.camera import Camera
from core.splat import LpipsNetwork, backend_name, encode_triplane, library, mlp, rasterize, ssim
from core.splat.lpips import SHAPES
from core.splat.scene import BenchmarkScene, benchmark_scene

SCENE = benchmark_scene(10, 20, 3)
RESOLUTIONS = torch.tensor([4], dtype=torch.int32)


def draw(scene: BenchmarkScene = SCENE, background: Tensor | None = None, channels: int | None = None) -> Tensor:
    return rasterize(
        *scene.tensors(), scene.world_to_camera, scene.camera, background, geometry_channels=channels
    ).image


@pytest.mark.parametrize("name", ["means", "quaternions", "scales", "opacities", "colors", "world_to_camera"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_rasterize_refuses_nan_and_infinity(name: str, value: float) -> None:
    tensor = getattr(SCENE, name).clone()
    tensor.view(-1)[-1 if name != "world_to_camera" else 3] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        draw(replace(SCENE, **{name: tensor}))


@pytest.mark.parametrize("name", ["means", "quaternions", "scales", "opacities", "colors", "world_to_camera"])
def test_rasterize_refuses_wrong_shapes_and_dtypes(name: str) -> None:
    tensor = getattr(SCENE, name)
    with pytest.raises(ValueError, match=f"{name} must have shape"):
        draw(replace(SCENE, **{name: tensor[..., None]}))
    with pytest.raises(TypeError, match=r"must be torch\.float32"):
        draw(replace(SCENE, **{name: tensor.half()}))


def test_rasterize_refuses_sizes_it_can_not_draw() -> None:
    with pytest.raises(ValueError, match="pixels a side"):
        draw(replace(SCENE, camera=Camera(10, 10, 0, 0, 0, 5)))
    with pytest.raises(ValueError, match="pixels a side"):
        draw(replace(SCENE, camera=Camera(10, 10, 0, 0, 5, 100_000)))
    with pytest.raises(ValueError, match="focal"):
        draw(replace(SCENE, camera=Camera(0, 10, 0, 0, 5, 5)))
    with pytest.raises(ValueError, match="principal point"):
        draw(replace(SCENE, camera=Camera(10, 10, float("nan"), 0, 5, 5)))
    with pytest.raises(ValueError, match=r"1\.\.16 channels"):
        draw(replace(SCENE, colors=torch.zeros(10, 17)))
    with pytest.raises(ValueError, match="geometry_channels"):
        draw(channels=4)
    with pytest.raises(ValueError, match="background"):
        draw(background=torch.tensor([0.0, float("nan"), 0.0]))


def test_non_contiguous_input_is_drawn_alike() -> None:
    strided = replace(SCENE, means=SCENE.means.T.contiguous().T, colors=SCENE.colors.repeat(1, 2)[:, :3])
    assert not strided.means.is_contiguous()
    assert torch.equal(draw(), draw(strided))


def test_the_other_kernels_refuse_what_they_can_not_read() -> None:
    points, table = torch.zeros(2, 3), torch.zeros(3, 1, 25)
    with pytest.raises(ValueError, match="needs 36"):
        encode_triplane(points, table, torch.tensor([5], dtype=torch.int32), 1.0)
    with pytest.raises(ValueError, match="resolutions must lie"):
        encode_triplane(points, table, torch.tensor([1], dtype=torch.int32), 1.0)
    with pytest.raises(TypeError, match="int32"):
        encode_triplane(points, table, torch.tensor([4]), 1.0)
    with pytest.raises(ValueError, match="bound"):
        encode_triplane(points, table, RESOLUTIONS, 0.0)
    with pytest.raises(ValueError, match="NaN"):
        encode_triplane(points * float("nan"), table, RESOLUTIONS, 1.0)
    with pytest.raises(ValueError, match=r"weights\[1\]"):
        mlp(torch.zeros(2, 8), [torch.zeros(16, 8), torch.zeros(3, 8)])
    with pytest.raises(ValueError, match=r"x\[1\] must have shape \[2, any\]"):
        mlp([torch.zeros(2, 8), torch.zeros(3, 8)], [torch.zeros(16, 16), torch.zeros(3, 16)])
    with pytest.raises(ValueError, match="at least one input"):
        mlp([], [torch.zeros(16, 8), torch.zeros(3, 16)])
    with pytest.raises(ValueError, match=r"x\[1\] holds NaN"):
        mlp([torch.zeros(2, 7), torch.full((2, 1), float("nan"))], [torch.zeros(16, 8), torch.zeros(3, 16)])
    with pytest.raises(ValueError, match="target"):
        ssim(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match="pixel"):
        ssim(torch.zeros(3, 0, 4), torch.zeros(3, 0, 4))


def test_no_gaussians_leave_the_background() -> None:
    scene = BenchmarkScene(
        *(t[:0].clone().requires_grad_() for t in SCENE.tensors()), SCENE.world_to_camera, SCENE.camera
    )
    image = draw(scene, torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(image[:, 3, 4], torch.tensor([0.1, 0.2, 0.3]))
    image.sum().backward()
    assert encode_triplane(torch.zeros(0, 3), torch.zeros(3, 1, 25), RESOLUTIONS, 1.0).shape == (0, 3)


def test_more_gaussians_in_one_tile_than_16_bits_count() -> None:
    """Far behind 70,000 fully transparent ones lies an opaque one: an index that wraps would lose it."""
    count = 70_000
    means = torch.zeros(count, 3)
    means[:, 2] = 2.0
    means[-1, 2] = 3.0
    opacities = torch.full((count,), 0.00393)  # just above 1/255, so each is listed, and T stays above 1e-4 ...
    opacities[:-1] = 0.0
    opacities[:-1:9] = 0.00393
    scales = torch.full((count, 3), 1e-6)
    colors = torch.zeros(count, 1)
    colors[-1] = 1.0
    opacities[-1] = 0.9
    quaternions = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1)
    camera = Camera.centred(10.0, 3)
    # The centre pixel's centre is the Gaussians' mean.
    drawn = rasterize(means, quaternions, scales, opacities, colors, torch.eye(4), camera)
    listed = int((opacities[:-1] > 0).sum())
    before = (1 - 0.00393) ** listed
    assert before < 1e-4 or abs(float(drawn.image[0, 1, 1]) - 0.9 * before) < 1e-5


coordinates = st.floats(-1e6, 1e6, width=32)


@st.composite
def scenes(draw_: st.DrawFn) -> BenchmarkScene:
    count = draw_(st.integers(0, 6))
    sizes = st.sampled_from([0.0, 1e-30, 1e-6, 0.01, 1.0, 1e3, 1e10, 1e18])
    opacity = st.sampled_from([0.0, 1e-8, 1 / 255, 0.00393, 0.5, 0.999, 1.0])
    depth = st.sampled_from([-5.0, 0.0, 0.0099, 0.01, 0.0101, 0.3, 1.0, 1e8])

    def tensor(strategy: st.SearchStrategy[float], *shape: int) -> Tensor:
        total = int(torch.tensor(shape).prod())
        return torch.tensor(draw_(st.lists(strategy, min_size=total, max_size=total))).float().reshape(shape)

    means = tensor(st.one_of(st.floats(-1, 1, width=32), coordinates), count, 3)
    means[:, 2] = tensor(depth, count)
    camera = Camera(
        draw_(st.floats(0.1, 1e4)),
        draw_(st.floats(0.1, 1e4)),
        draw_(st.floats(-50, 50)),
        draw_(st.floats(-50, 50)),
        draw_(st.integers(1, 35)),
        draw_(st.integers(1, 35)),
    )
    return BenchmarkScene(
        means,
        tensor(st.floats(-2, 2, width=32), count, 4),
        tensor(sizes, count, 3),
        tensor(opacity, count),
        tensor(st.floats(-10, 10, width=32), count, draw_(st.integers(1, 16))),
        torch.eye(4),
        camera,
    )


@settings(max_examples=80, deadline=None)
@given(scenes())
def test_any_finite_scene_gives_a_finite_picture_and_finite_gradients(scene: BenchmarkScene) -> None:
    leaves = [t.clone().requires_grad_() for t in scene.tensors()]
    drawn = rasterize(*leaves, scene.world_to_camera, scene.camera)
    assert drawn.image.shape == (scene.colors.shape[1], scene.camera.height, scene.camera.width)
    assert torch.isfinite(drawn.image).all()
    assert ((drawn.alpha >= 0) & (drawn.alpha <= 1)).all()
    behind = scene.means[:, 2] <= 0.01
    assert not drawn.screen.visible[behind].any()
    assert not drawn.screen.visible[scene.opacities < 1 / 255].any()
    drawn.image.sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert not torch.isnan(leaf.grad).any()
        assert not leaf.grad[~drawn.screen.visible].any()


def test_everything_behind_the_camera_is_empty() -> None:
    behind = replace(SCENE, means=SCENE.means - torch.tensor([0.0, 0.0, 100.0]))
    assert not draw(behind).any()


def test_without_a_library_the_reference_runs_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(library, "FOLDER", type(library.FOLDER)(str(tmp_path)))
    library.load.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="native kernels can't load"):
            assert backend_name() == "torch"
        small = replace(SCENE, camera=SCENE.camera.cropped(5, 5, 8, 8))
        fallback = draw(small)
        with pytest.raises(RuntimeError, match="doctor"):
            rasterize(*small.tensors(), small.world_to_camera, small.camera, backend="native")
    finally:
        library.load.cache_clear()
    monkeypatch.undo()
    library.load.cache_clear()
    assert backend_name().startswith("native-")
    assert torch.allclose(fallback, draw(small), atol=2e-5)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend"):
        ssim(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), backend="cuda")


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_other_kernels_refuse_nan_and_infinity(backend: str, value: float) -> None:
    points, table = torch.zeros(2, 3), torch.zeros(3, 1, 25)
    weights = [torch.ones(16, 8), torch.ones(3, 16)]
    for number in range(2):
        broken = [points.clone(), table.clone()]
        broken[number].view(-1)[-1] = value
        with pytest.raises(ValueError, match="NaN or infinity"):
            encode_triplane(*broken, RESOLUTIONS, 1.0, backend=backend)
        broken = [weight.clone() for weight in weights]
        broken[number][0, 0] = value
        with pytest.raises(ValueError, match=rf"weights\[{number}\] holds NaN or infinity"):
            mlp(torch.ones(2, 8), broken, backend=backend)
        pictures = [torch.zeros(3, 30, 30), torch.zeros(3, 30, 30)]
        pictures[number][1, 29, 0] = value
        with pytest.raises(ValueError, match="NaN or infinity"):
            ssim(*pictures, backend=backend)
    with pytest.raises(ValueError, match="x holds NaN or infinity"):
        mlp(torch.full((2, 8), value), weights, backend=backend)


def no_weights() -> list[list[Tensor]]:
    """An LPIPS network's three arguments, all zero."""
    channels = [torch.zeros(out) for out, _, _ in SHAPES]
    return [[torch.zeros(o, i, k, k) for o, i, k in SHAPES], list(channels), list(channels)]


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_perceptual_network_refuses_other_pictures_and_weights(backend: str) -> None:
    network = LpipsNetwork(*no_weights())
    broken = torch.zeros(3, 40, 40)
    broken[2, 39, 39] = float("nan")
    for pictures, said in (
        ((torch.zeros(3, 40, 40), torch.zeros(3, 40, 41)), "must have shape"),
        ((torch.zeros(1, 40, 40), torch.zeros(1, 40, 40)), "must have shape"),
        ((torch.zeros(3, 30, 40), torch.zeros(3, 30, 40)), "at least 31"),
        ((broken, torch.zeros(3, 40, 40)), "image holds NaN"),
        ((torch.zeros(3, 40, 40), broken), "target holds NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            network.distance(*pictures, backend=backend)
    with pytest.raises(TypeError, match="float32"):
        network.distance(torch.zeros(3, 40, 40, dtype=torch.uint8), torch.zeros(3, 40, 40), backend=backend)
    for part, change, said in (
        (0, lambda tensors: tensors[:4], "weights must be 5"),
        (1, lambda tensors: [*tensors[:4], torch.zeros(7)], r"biases\[4\] must have shape"),
        (2, lambda tensors: [tensors[0] + float("inf"), *tensors[1:]], r"linear\[0\] holds NaN"),
    ):
        parts = no_weights()
        parts[part] = change(parts[part])
        with pytest.raises(ValueError, match=said):
            LpipsNetwork(*parts)


def test_finite_numbers_whose_sum_overflows_are_taken() -> None:
    assert torch.isfinite(ssim(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)))
    large = torch.full((8, 8), 3e38)
    assert mlp(large, [torch.zeros(16, 8), torch.zeros(3, 16)]).shape == (8, 3)


def test_sparse_input_is_refused() -> None:
    with pytest.raises(ValueError, match="must be dense"):
        draw(replace(SCENE, means=SCENE.means.to_sparse()))
    with pytest.raises(ValueError, match="must be dense"):
        mlp(torch.zeros(2, 8).to_sparse(), [torch.zeros(16, 8), torch.zeros(3, 16)])


@st.composite
def ordinary_scenes(draw_: st.DrawFn) -> tuple[BenchmarkScene, Tensor | None, int]:
    """Every edge that float32 can follow: none, behind, off screen, tiny, huge, transparent, opaque, one pixel."""
    count, channels = draw_(st.integers(0, 6)), draw_(st.integers(1, 16))
    generator = torch.Generator().manual_seed(draw_(st.integers(0, 2**31)))

    def pick(values: list[float], *shape: int) -> Tensor:
        return torch.tensor(values)[torch.randint(len(values), shape, generator=generator)]

    means = torch.rand(count, 3, generator=generator) * 2 - 1
    means[:, :2] *= pick([0.3, 1.0, 30.0], count, 1)
    means[:, 2] = means[:, 2].abs() + pick([-3.0, 0.2, 1.0, 5.0], count)
    scene = BenchmarkScene(
        means,
        torch.randn(count, 4, generator=generator),
        pick([1e-6, 1e-3, 0.05, 0.3, 4.0], count, 1) * (0.3 + torch.rand(count, 3, generator=generator)),
        pick([0.0, 1e-4, 0.02, 0.3, 0.9, 1.0], count),
        torch.rand(count, channels, generator=generator),
        torch.eye(4),
        Camera(
            draw_(st.floats(4, 60)),
            draw_(st.floats(4, 60)),
            draw_(st.floats(0, 20)),
            draw_(st.floats(0, 20)),
            draw_(st.sampled_from([1, 2, 3, 15, 16, 17, 33])),
            draw_(st.sampled_from([1, 2, 5, 16, 19, 32])),
        ),
    )
    background = torch.rand(channels, generator=generator) if draw_(st.booleans()) else None
    return scene, background, draw_(st.integers(0, channels))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(ordinary_scenes())
def test_every_edge_is_drawn_and_differentiated_as_in_float64(
    drawn: tuple[BenchmarkScene, Tensor | None, int],
) -> None:
    scene, background, geometry_channels = drawn
    results = []
    for backend, dtype in (("native", torch.float32), ("torch", torch.float64)):
        leaves = [tensor.to(dtype, copy=True).requires_grad_() for tensor in scene.tensors()]
        view, behind = scene.world_to_camera.to(dtype), None if background is None else background.to(dtype)
        picture = rasterize(*leaves, view, scene.camera, behind, geometry_channels=geometry_channels, backend=backend)
        generator = torch.Generator().manual_seed(3)
        image = torch.cat([picture.image, picture.maps])
        (image * torch.randn(image.shape, generator=generator).to(dtype)).sum().backward()
        results.append((image.detach().double(), picture.alpha.detach().double(), leaves))
    (image, alpha, leaves), (exact_image, exact_alpha, exact_leaves) = results
    for found, exact in ((image, exact_image), (alpha, exact_alpha)):
        error = (found - exact).abs().flatten()
        assert (error > 1e-4).sum() <= 0.005 * len(error)  # who sits on a threshold may be off by its step
        assert error.max() <= 0.02
    if (alpha - exact_alpha).abs().max() > 1e-4:
        return
    for leaf, exact_leaf in zip(leaves, exact_leaves, strict=True):
        expected = torch.zeros_like(exact_leaf) if exact_leaf.grad is None else exact_leaf.grad
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad.double() - expected).norm() <= 2e-3 * expected.norm() + 1e-4
