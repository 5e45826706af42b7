"""View-dependent colours against float64, finite differences and gsplat's own torch code."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from core.splat import library, rasterize, reference, view_colors
from core.splat.scene import benchmark_scene


def scene(count: int, bases: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients, means around the camera in every direction, and a view that is neither straight nor central."""
    generator = torch.Generator().manual_seed(count + bases)
    coefficients = torch.randn(count, bases, 3, generator=generator)
    means = torch.randn(count, 3, generator=generator) * torch.tensor([1.0, 0.2, 3.0])
    rotation = reference.rotation_matrices(torch.tensor([[0.9, 0.3, -0.2, 0.5]], dtype=torch.float64))[0]
    view = torch.eye(4, dtype=torch.float64)
    view[:3, :3], view[:3, 3] = rotation, torch.tensor([0.1, -0.4, 2.0])
    return coefficients, means, view.float()


@pytest.mark.parametrize("bases", [1, 4, 9])
@pytest.mark.parametrize("count", [0, 1, 8, 13, 1100])
def test_colours_and_gradients_agree_with_float64(isa: str, bases: int, count: int) -> None:
    coefficients, means, view = scene(count, bases)
    found = [t.clone().requires_grad_() for t in (coefficients, means)]
    exact = [t.double().requires_grad_() for t in (coefficients, means)]
    colors = view_colors(*found, view, backend="native")
    truth = view_colors(*exact, view.double(), backend="torch")
    assert torch.allclose(colors.double(), truth, atol=2e-5, rtol=1e-5)
    upstream = torch.randn(count, 3, generator=torch.Generator().manual_seed(9))
    upstream[(truth.detach() > 0) != (colors.detach() > 0)] = 0  # within rounding of the cut at 0
    (colors * upstream).sum().backward()
    (truth * upstream.double()).sum().backward()
    for leaf, exact_leaf in zip(found, exact, strict=True):
        assert leaf.grad is not None
        expected = (
            torch.zeros_like(exact_leaf) if exact_leaf.grad is None else exact_leaf.grad
        )  # degree 0: no direction
        assert (leaf.grad.double() - expected).norm() <= 1e-4 * expected.norm() + 1e-12


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_gsplat_s_own_torch_code_gives_the_same_colours(isa: str, degree: int) -> None:
    theirs = pytest.importorskip("gsplat.cuda._torch_impl")._spherical_harmonics
    coefficients, means, view = scene(200, (degree + 1) ** 2)
    camera = torch.linalg.inv(view)[:3, 3]
    expected = (theirs(degree, means - camera, coefficients) + 0.5).clamp_min(0)  # as gsplat.rasterization does
    assert torch.allclose(view_colors(coefficients, means, view), expected, atol=2e-5, rtol=1e-5)


def test_reference_gradients_agree_with_finite_differences() -> None:
    coefficients, means, view = scene(4, 9)
    coefficients = coefficients.double() * 0.1  # far from the cut at 0
    leaves = coefficients.requires_grad_(), means.double().requires_grad_()

    def colors(c: Tensor, m: Tensor) -> Tensor:
        return view_colors(c, m, view.double(), backend="torch")

    assert torch.autograd.gradcheck(colors, leaves, eps=1e-6, atol=1e-7)


def test_degree_one_is_a_cosine_about_the_view() -> None:
    """Seen from +z only the z coefficient counts: Y10 = sqrt(3 / 4 pi) cos(angle)."""
    coefficients = torch.zeros(1, 4, 3)
    coefficients[0, 2] = 1.0
    angle = 0.7
    means = torch.tensor([[math.sin(angle), 0.0, math.cos(angle)]])
    expected = 0.5 + math.sqrt(3 / (4 * math.pi)) * math.cos(angle)
    assert torch.allclose(view_colors(coefficients, means, torch.eye(4)), torch.full((1, 3), expected))


def test_gradients_reach_the_means_through_colour_and_place() -> None:
    drawn = benchmark_scene(60, 32)
    means = drawn.means.clone().requires_grad_()
    coefficients = torch.randn(60, 9, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    colors = view_colors(coefficients, means, drawn.world_to_camera)
    rest = drawn.quaternions, drawn.scales, drawn.opacities
    rasterize(means, *rest, colors, drawn.world_to_camera, drawn.camera).image.square().sum().backward()
    exact = drawn.means.double().requires_grad_()
    exact_colors = view_colors(coefficients.detach().double(), exact, drawn.world_to_camera.double(), backend="torch")
    view = drawn.world_to_camera.double()
    picture = rasterize(exact, *(t.double() for t in rest), exact_colors, view, drawn.camera, backend="torch")
    picture.image.square().sum().backward()
    assert means.grad is not None
    assert exact.grad is not None
    assert (means.grad.double() - exact.grad).norm() <= 1e-4 * exact.grad.norm()
    assert coefficients.grad is not None
    assert coefficients.grad.any()


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_gaussian_at_the_camera_and_far_ones_have_finite_colours(backend: str) -> None:
    means = torch.tensor([[0.0, 0.0, 0.0], [1e-20, 0.0, 0.0], [1e18, -1e18, 1.0], [0.0, 1e-6, 0.0]]).requires_grad_()
    coefficients = torch.ones(4, 9, 3).requires_grad_()
    colors = view_colors(coefficients, means, torch.eye(4), backend=backend)
    colors.sum().backward()
    for tensor in (colors, means.grad, coefficients.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()
    assert means.grad is not None
    assert not means.grad[:2].any()


def test_wrong_input_is_refused(isa: str) -> None:
    coefficients, means, view = scene(5, 4)
    with pytest.raises(ValueError, match="K one of"):
        view_colors(coefficients[:, :3], means, view)
    with pytest.raises(ValueError, match="coefficients must have shape"):
        view_colors(coefficients[:4], means, view)
    with pytest.raises(TypeError, match=r"torch\.float32"):
        view_colors(coefficients, means.half(), view)
    for name in ("coefficients", "means", "view"):
        inputs = {"coefficients": coefficients, "means": means, "view": view}
        broken = {**inputs, name: inputs[name].clone().fill_(float("inf"))}
        for backend in ("native", "torch"):
            with pytest.raises(ValueError, match="NaN or infinity"):
                view_colors(*broken.values(), backend=backend)


def test_the_same_bits_on_any_number_of_threads(isa: str, threads: None) -> None:
    coefficients, means, view = scene(3000, 9)

    def run(count: int) -> list[Tensor]:
        library.set_threads(count)
        leaves = [t.clone().requires_grad_() for t in (coefficients, means)]
        colors = view_colors(*leaves, view)
        colors.square().sum().backward()
        return [colors, *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    expected = run(1)
    for count in (1, 2, 3):
        for a, b in zip(expected, run(count), strict=True):
            assert torch.equal(a, b)
