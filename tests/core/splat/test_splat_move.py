"""A structure and a motion to what is drawn, against float64; what an input may not be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.splat import Moved, move

TOLERANCE = 1e-6


def structure(count: int, seed: int = 0, spread: float = 4.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((count, 3), (count, 4), (count, 3), (count,))
    return [spread * torch.randn(shape, generator=generator) for shape in shapes]


def parts(moved: Moved) -> list[Tensor]:
    return [moved.means, moved.quaternions, moved.scales, moved.opacities]


def assert_close(found: Tensor | None, exact: Tensor | None) -> None:
    assert found is not None
    assert exact is not None
    assert found.shape == exact.shape
    # A float's own step besides: what is left of an opacity near 1 cancels.
    assert (found.double() - exact).norm() <= TOLERANCE * exact.norm() + 3e-7


def both(raw: list[Tensor], outputs: Tensor, given: tuple[bool, bool, bool], weight: float) -> None:
    """Move and differentiate natively and in float64; compare everything."""
    results = []
    for backend, dtype in (("native", torch.float32), ("torch", torch.float64)):
        *leaves, motion = (tensor.to(dtype, copy=True).requires_grad_() for tensor in (*raw, outputs))
        columns = (motion[:, :3], motion[:, 3:7], motion[:, 7:10])
        moved = move(*leaves, *(c if there else None for c, there in zip(columns, given, strict=True)), backend=backend)
        generator = torch.Generator().manual_seed(1)
        loss = weight * moved.magnitude
        for part in parts(moved):
            loss = loss + (part * torch.randn(part.shape, generator=generator).to(dtype)).sum()
        loss.backward()
        results.append(([*parts(moved), moved.magnitude], [leaf.grad for leaf in (*leaves, motion)]))
    (values, gradients), (exact_values, exact_gradients) = results
    for found, exact in zip(values, exact_values, strict=True):
        assert_close(found.detach(), exact.detach())
    for found_gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        if exact_gradient is None:
            assert found_gradient is None
        else:
            assert_close(found_gradient, exact_gradient)


@pytest.mark.parametrize(("count", "moving"), [(1, 1), (5, 0), (17, 17), (1500, 1100), (3000, 1)])
@pytest.mark.parametrize("given", [(True, True, True), (True, False, False), (False, True, True)])
def test_what_is_drawn_agrees_with_float64(isa: str, count: int, moving: int, given: tuple[bool, bool, bool]) -> None:
    outputs = torch.randn(moving, 12, generator=torch.Generator().manual_seed(2))
    both(structure(count), outputs, given, 100.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 40), st.integers(0, 40), st.floats(1e-3, 60), st.sampled_from([0.0, 1.0, -3.0]))
def test_any_numbers_are_moved_as_in_float64(count: int, moving: int, spread: float, weight: float) -> None:
    outputs = spread * torch.randn(min(moving, count), 10, generator=torch.Generator().manual_seed(3))
    both(structure(count, 4, spread), outputs, (True, True, True), weight)


def test_extreme_scales_and_opacities_stay_finite(isa: str) -> None:
    raw = structure(4)
    raw[2] = torch.tensor([[-3e38, -200.0, -88.0], [0.0, 20.0, 88.0], [200.0, 1e10, 3e38], [-1e-30, 1e-30, 1.0]])
    raw[3] = torch.tensor([-3e38, 3e38, -100.0, 100.0])
    leaves = [tensor.requires_grad_() for tensor in raw]
    moved = move(*leaves)
    exact = torch.nn.functional.softplus(leaves[2].detach().double())
    assert (moved.scales.double() - exact).abs().max() <= 1e-6 * exact.abs().max()
    assert torch.equal(moved.opacities, torch.sigmoid(leaves[3]))
    (moved.scales.clamp(max=1).sum() + moved.opacities.sum()).backward()
    assert torch.isfinite(leaves[2].grad).all()
    assert torch.isfinite(leaves[3].grad).all()


def test_nothing_that_is_not_used_costs_a_gradient() -> None:
    means, *rest = structure(6)
    means.requires_grad_()
    moved = move(means, *rest, torch.ones(2, 3))
    moved.magnitude.backward()
    assert means.grad is None or not means.grad.any()


def test_gradients_agree_with_finite_differences() -> None:
    leaves = [tensor.double().requires_grad_() for tensor in (*structure(4, spread=1.0), torch.randn(3, 3) + 3)]
    assert torch.autograd.gradcheck(lambda *t: (*parts(out := move(*t, backend="torch")), out.magnitude), leaves)


def test_wrong_shapes_are_refused() -> None:
    raw = structure(5)
    with pytest.raises(ValueError, match="6 rows for 5 Gaussians"):
        move(*raw, torch.zeros(6, 3))
    with pytest.raises(ValueError, match=r"rotation must have shape \[2, 4\]"):
        move(*raw, torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"scale must have shape \[2, 3\]"):
        move(*raw, torch.zeros(2, 3), None, torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"opacities must have shape \[5\]"):
        move(*raw[:3], torch.zeros(4))
    with pytest.raises(TypeError, match="float32"):
        move(*raw, torch.zeros(2, 3, dtype=torch.float64))
