"""The native rasteriser against the float64 torch reference, and the reference against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.camera import Camera
from core.splat import Rasterization, rasterize
from core.splat.reference import rasterize as reference_rasterize
from core.splat.scene import BenchmarkScene, benchmark_scene

IMAGE_TOLERANCE = 2e-5
GRADIENT_TOLERANCE = 1e-4
NAMES = ("means", "quaternions", "scales", "opacities", "colors")


def assert_same_picture(found: Tensor, truth: Tensor) -> None:
    """Equal up to rounding; at most 1 in 2,000 pixels may sit on a threshold (1/255, 1e-4) and be off by its step."""
    error = (found.double() - truth).abs().flatten()
    assert error.quantile(0.9995) <= IMAGE_TOLERANCE
    assert error.max() <= 1.5 / 255


def assert_same_gradient(name: str, found: Tensor | None, truth: Tensor | None) -> None:
    assert found is not None, name
    assert truth is not None, name
    assert torch.isfinite(found).all(), name
    assert (found.double() - truth).norm() <= GRADIENT_TOLERANCE * truth.norm() + 1e-12, name


def channels_of(drawn: Rasterization) -> Tensor:
    """[C, H, W] all channels, those that reach the geometry first."""
    return torch.cat([drawn.image, drawn.maps])


def draw_both(
    scene: BenchmarkScene, background: Tensor | None = None, geometry_channels: int | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Draw and differentiate natively and in float64; compare everything; return both sets of leaves."""
    native = [tensor.clone().requires_grad_() for tensor in scene.tensors()]
    exact = [tensor.double().requires_grad_() for tensor in scene.tensors()]
    view = scene.world_to_camera
    found = rasterize(*native, view, scene.camera, background, geometry_channels=geometry_channels, backend="native")
    truth = rasterize(
        *exact,
        view.double(),
        scene.camera,
        None if background is None else background.double(),
        geometry_channels=geometry_channels,
        backend="torch",
    )
    assert_same_picture(channels_of(found), channels_of(truth).detach())
    assert_same_picture(found.alpha, truth.alpha.detach())
    assert torch.equal(found.screen.visible, truth.screen.visible)
    seen = truth.screen.visible
    assert torch.allclose(found.screen.means[seen].double(), truth.screen.means[seen], atol=1e-3)
    assert torch.allclose(found.screen.radii[seen].double(), truth.screen.radii[seen], rtol=1e-3, atol=0.02)

    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(channels_of(found).shape, generator=generator)
    alpha_weights = torch.randn(found.alpha.shape, generator=generator)
    ((channels_of(found) * weights).sum() + (found.alpha * alpha_weights).sum()).backward()
    ((channels_of(truth) * weights.double()).sum() + (truth.alpha * alpha_weights.double()).sum()).backward()
    for name, leaf, exact_leaf in zip(NAMES, native, exact, strict=True):
        assert_same_gradient(name, leaf.grad, exact_leaf.grad)
    assert_same_gradient("screen", found.screen.gradient, truth.screen.gradient)
    return native, exact


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 13, 16])
def test_picture_and_gradients_agree_with_float64(isa: str, channels: int) -> None:
    scene = benchmark_scene(150, 48, channels, seed=channels)
    draw_both(scene, torch.linspace(0.1, 0.9, channels))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5), (16, 17), (37, 21)])
def test_any_picture_size_agrees(isa: str, width: int, height: int) -> None:
    scene = benchmark_scene(80, 40, 3)
    camera = scene.camera.cropped((40 - width) // 2, (40 - height) // 2, width, height)
    parts = (*scene.tensors(), scene.world_to_camera)
    draw_both(BenchmarkScene(*parts, camera))


def test_wide_and_thin_gaussians_outside_the_field_of_view_agree() -> None:
    """Means far off axis are where the clamp of the Jacobian acts."""
    generator = torch.Generator().manual_seed(3)
    means = torch.rand(40, 3, generator=generator) * torch.tensor([6.0, 6.0, 1.0]) - torch.tensor([3.0, 3.0, 0.0])
    means[:, 2] += 1.0
    scene = BenchmarkScene(
        means,
        torch.randn(40, 4, generator=generator) * 3.0,
        torch.rand(40, 3, generator=generator) * torch.tensor([1.0, 0.3, 0.05]) + 0.01,
        torch.rand(40, generator=generator) * 0.6 + 0.05,
        torch.rand(40, 3, generator=generator),
        torch.eye(4),
        Camera(40.0, 44.0, 15.0, 18.0, 32, 36),
    )
    draw_both(scene)


def test_attention_channels_reach_colours_only(isa: str) -> None:
    scene = benchmark_scene(100, 32, 5)
    native, _ = draw_both(scene, torch.full((5,), 0.3), geometry_channels=3)
    means = scene.means.clone().requires_grad_()
    colors = scene.colors.clone().requires_grad_()
    drawn = rasterize(
        means,
        scene.quaternions,
        scene.scales,
        scene.opacities,
        colors,
        scene.world_to_camera,
        scene.camera,
        geometry_channels=3,
    )
    assert drawn.image.shape == (3, 32, 32)
    drawn.maps.sum().backward()
    assert means.grad is not None
    assert not means.grad.any()
    assert colors.grad is not None
    assert colors.grad[:, 3:].any()
    assert not colors.grad[:, :3].any()
    assert native[0].grad is not None
    assert native[0].grad.any()


def test_opaque_stack_ends_early_and_agrees() -> None:
    """Sixty near-opaque layers: alpha is cut at 0.999 and pixels end; the rest of the list must not leak in."""
    count = 60
    means = torch.zeros(count, 3)
    means[:, 2] = torch.linspace(1.0, 2.0, count)
    scene = BenchmarkScene(
        means + torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 0.05,
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        torch.tensor([[0.2, 0.15, 0.25]]).repeat(count, 1),
        torch.linspace(0.5, 1.0, count),
        torch.rand(count, 3, generator=torch.Generator().manual_seed(2)),
        torch.eye(4),
        Camera.centred(30.0, 24),
    )
    draw_both(scene, torch.tensor([0.2, 0.4, 0.6]))


def test_reference_gradients_agree_with_finite_differences() -> None:
    """No pixel of this scene is near a threshold, so the picture is smooth."""
    means = torch.tensor([[0.0, 0.0, 2.0], [0.2, -0.1, 2.5], [-0.1, 0.15, 3.0]], dtype=torch.float64)
    quaternions = torch.tensor(
        [[1.0, 0.1, 0.2, 0.3], [0.5, -0.5, 0.3, 0.1], [0.9, 0.0, 0.4, -0.2]], dtype=torch.float64
    )
    scales = torch.tensor([[0.9, 0.8, 0.7], [0.8, 1.0, 0.6], [1.1, 0.9, 1.0]], dtype=torch.float64)
    opacities = torch.tensor([0.5, 0.6, 0.4], dtype=torch.float64)
    colors = torch.tensor([[0.1, 0.9], [0.5, 0.3], [0.8, 0.7]], dtype=torch.float64)
    leaves = tuple(t.requires_grad_() for t in (means, quaternions, scales, opacities, colors))
    camera = Camera(6.0, 6.0, 2.0, 2.5, 4, 5)
    background = torch.tensor([0.3, 0.6], dtype=torch.float64)

    def picture(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        drawn = reference_rasterize(*tensors, torch.eye(4, dtype=torch.float64), camera, background, 2)
        return drawn.image, drawn.alpha

    assert torch.autograd.gradcheck(picture, leaves, eps=1e-6, atol=1e-6)


def test_one_gaussian_in_front_of_the_camera_has_the_closed_form() -> None:
    """An isotropic Gaussian on the axis: variance (f s / z)^2 + 0.3 in both directions."""
    camera = Camera.centred(100.0, 33)
    drawn = rasterize(
        torch.tensor([[0.0, 0.0, 2.0]]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.full((1, 3), 0.08),
        torch.tensor([0.8]),
        torch.tensor([[0.5]]),
        torch.eye(4),
        camera,
    )
    pixels = torch.arange(33, dtype=torch.float64) + 0.5 - 16.5
    squared = pixels[:, None] ** 2 + pixels[None] ** 2
    alpha = 0.8 * torch.exp(-0.5 * squared / (4.0**2 + 0.3))
    alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
    assert (drawn.alpha - alpha).abs().max() < 1e-6
    assert (drawn.image[0] - 0.5 * alpha).abs().max() < 1e-6


def test_two_pictures_may_live_before_one_backward() -> None:
    first, second = benchmark_scene(60, 32, 3, seed=1), benchmark_scene(90, 32, 3, seed=2)

    def gradients(together: bool) -> list[Tensor]:
        leaves = [[t.clone().requires_grad_() for t in s.tensors()] for s in (first, second)]
        pictures = []
        for leaf, scene in zip(leaves, (first, second), strict=True):
            image = rasterize(*leaf, scene.world_to_camera, scene.camera).image
            if together:
                pictures.append(image)
            else:
                image.square().sum().backward()
        if together:
            torch.stack(pictures).square().sum().backward()
        return [t.grad for leaf in leaves for t in leaf if t.grad is not None]

    for apart, joint in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(apart, joint)


def test_without_gradients_the_same_picture_is_drawn() -> None:
    scene = benchmark_scene(100, 32, 3)
    leaves = [t.clone().requires_grad_() for t in scene.tensors()]
    kept = rasterize(*leaves, scene.world_to_camera, scene.camera)
    with torch.no_grad():
        free = rasterize(*leaves, scene.world_to_camera, scene.camera)
    assert torch.equal(kept.image, free.image)
    assert not free.image.requires_grad
