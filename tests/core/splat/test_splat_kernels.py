"""Grid, network and SSIM kernels against their float64 references, closed forms and independent implementations."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from core.splat import encode_triplane, mlp, mlp_split, photometric_loss, ssim
from core.splat.benchmark import made_up_lpips
from core.splat.reference import growth_resolutions

TOLERANCE = 2e-5


def relative(found: Tensor | None, truth: Tensor | None) -> float:
    assert found is not None
    assert truth is not None
    exact = truth.detach().double()
    return float((found.detach().double() - exact).norm() / exact.norm().clamp(min=1e-30))


@pytest.mark.parametrize("count", [1, 7, 300])
def test_triplane_agrees_with_float64(isa: str, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    resolutions = torch.tensor(growth_resolutions(16, 38.4, 12), dtype=torch.int32)
    table = torch.randn(3, 12, 1700, generator=generator)
    points = (torch.rand(count, 3, generator=generator) - 0.5) * 0.32  # some outside the bound of 0.15
    upstream = torch.randn(count, 36, generator=generator)
    found = [t.clone().requires_grad_() for t in (points, table)]
    truth = [t.double().requires_grad_() for t in (points, table)]
    features = encode_triplane(*found, resolutions, 0.15)
    exact = encode_triplane(*truth, resolutions, 0.15, backend="torch")
    (features * upstream).sum().backward()
    (exact * upstream.double()).sum().backward()
    assert relative(features, exact) < TOLERANCE
    for leaf, exact_leaf in zip(found, truth, strict=True):
        assert relative(leaf.grad, exact_leaf.grad) < TOLERANCE


def test_triplane_reproduces_a_linear_function_of_the_plane() -> None:
    """Bilinear interpolation is exact for it: entry (i, j) holds i + 100 j, so a feature tells its own position."""
    resolution = 9
    entry = torch.arange((resolution + 1) ** 2)
    level = (entry % (resolution + 1) + 100 * (entry // (resolution + 1))).float()
    points = torch.tensor([[-1.0, 0.0, 1.0], [0.25, -0.5, 3.0]])
    features = encode_triplane(points, level.expand(3, 1, -1).contiguous(), torch.tensor([9], dtype=torch.int32), 1.0)
    position = ((points + 1) / 2).clamp(0, 1) * (resolution - 1) + 0.5
    expected = torch.stack([position[:, a] + 100 * position[:, b] for a, b in ((0, 1), (1, 2), (0, 2))], -1)
    assert torch.allclose(features, expected, atol=1e-4)


def test_reference_triplane_passes_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(4, 3, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()
    table = torch.randn(3, 2, 36, generator=generator, dtype=torch.float64, requires_grad=True)
    resolutions = torch.tensor([3, 5], dtype=torch.int32)

    def encode(p: Tensor, t: Tensor) -> Tensor:
        return encode_triplane(p, t, resolutions, 1.0, backend="torch")

    assert torch.autograd.gradcheck(encode, (points, table))


@pytest.mark.parametrize("widths", [(74, 64, 64, 11), (36, 32, 32), (36, 16, 6), (39, 16, 16, 1), (5, 64, 64, 512)])
@pytest.mark.parametrize("count", [1, 97, 500])
def test_network_agrees_with_float64(isa: str, widths: tuple[int, ...], count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    weights = [torch.randn(o, i, generator=generator) / i**0.5 for i, o in itertools.pairwise(widths)]
    x = torch.randn(count, widths[0], generator=generator)
    upstream = torch.randn(count, widths[-1], generator=generator)
    found = [t.clone().requires_grad_() for t in (x, *weights)]
    truth = [t.double().requires_grad_() for t in (x, *weights)]
    output, exact = mlp(found[0], found[1:]), mlp(truth[0], truth[1:], backend="torch")
    (output * upstream).sum().backward()
    (exact * upstream.double()).sum().backward()
    assert relative(output, exact) < TOLERANCE
    for leaf, exact_leaf in zip(found, truth, strict=True):
        assert relative(leaf.grad, exact_leaf.grad) < TOLERANCE


@pytest.mark.parametrize("parts", [(36, 32, 6), (1, 40), (74,)])
@pytest.mark.parametrize("needed", [(True, True, True), (True, False, True), (False, False, False)])
def test_a_network_reads_its_inputs_where_they_lie(isa: str, parts: tuple[int, ...], needed: tuple[bool, ...]) -> None:
    generator = torch.Generator().manual_seed(4)
    widths = (sum(parts), 64, 32, 10)
    weights = [torch.randn(o, i, generator=generator) / i**0.5 for i, o in itertools.pairwise(widths)]
    inputs = [torch.randn(133, width, generator=generator) for width in parts]
    leaves = [t.clone().requires_grad_(n) for t, n in zip(inputs, needed, strict=False)]
    own = [w.clone().requires_grad_() for w in weights]
    output = mlp(leaves, own)
    output.square().sum().backward()
    joined = torch.cat(inputs, 1).requires_grad_()
    theirs = [w.clone().requires_grad_() for w in weights]
    whole = mlp(joined, theirs)
    whole.square().sum().backward()
    assert torch.equal(output, whole)
    for leaf, gradient in zip(leaves, joined.grad.split(parts, 1), strict=True):
        assert torch.equal(leaf.grad, gradient) if leaf.requires_grad else leaf.grad is None
    for weight, other in zip(own, theirs, strict=True):
        assert torch.equal(weight.grad, other.grad)


@pytest.mark.parametrize("used", [(0, 1, 2, 3), (1,), (0, 2), ()])
def test_a_network_answers_in_parts(isa: str, used: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(6)
    widths, split = (36, 64, 64, 11), (3, 4, 3, 1)
    values = [torch.randn(o, i, generator=generator) / i**0.5 for i, o in itertools.pairwise(widths)]
    values.insert(0, torch.randn(131, 36, generator=generator))
    own, theirs = ([v.clone().requires_grad_() for v in values] for _ in range(2))
    parts, whole = mlp_split(own[0], own[1:], split), mlp(theirs[0], theirs[1:])
    for part, column in zip(parts, whole.split(split, 1), strict=True):
        assert torch.equal(part, column)
    loss = sum((parts[n].square().sum() for n in used), start=0 * own[0].sum())
    loss.backward()
    sum((whole.split(split, 1)[n].square().sum() for n in used), start=0 * theirs[0].sum()).backward()
    for mine, other in zip(own, theirs, strict=True):
        if not used:
            assert mine.grad is None or not mine.grad.any()
        else:
            assert torch.allclose(mine.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_parts_of_a_network_must_add_up() -> None:
    weights = [torch.zeros(16, 8), torch.zeros(5, 16)]
    assert [p.shape[1] for p in mlp_split(torch.zeros(2, 8), weights, (2, 3), backend="torch")] == [2, 3]
    for widths in ((2, 2), (5, 0), ()):
        with pytest.raises(ValueError, match="widths"):
            mlp_split(torch.zeros(2, 8), weights, widths)


@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1, 2)])
def test_frozen_layers_get_no_gradient_and_change_nobody_elses(isa: str, frozen: tuple[int, ...]) -> None:
    widths, generator = (45, 32, 16, 10), torch.Generator().manual_seed(3)
    weights = [torch.randn(o, i, generator=generator) / i**0.5 for i, o in itertools.pairwise(widths)]
    x = torch.randn(130, widths[0], generator=generator)
    whole = [t.clone().requires_grad_() for t in (x, *weights)]
    some = [whole[0].detach().clone().requires_grad_()]
    some += [weight.clone().requires_grad_(number not in frozen) for number, weight in enumerate(weights)]
    for first, *rest in (whole, some):
        mlp(first, rest).square().sum().backward()
    for number, (leaf, everything) in enumerate(zip(some, whole, strict=True)):
        if number - 1 in frozen:
            assert leaf.grad is None
        else:
            assert torch.equal(leaf.grad, everything.grad)


def test_network_of_another_shape_runs_in_torch() -> None:
    weights = [torch.randn(20, 8), torch.randn(3, 20)]
    x = torch.randn(5, 8)
    assert torch.allclose(mlp(x, weights), torch.relu(x @ weights[0].T) @ weights[1].T)


def test_network_without_rows_is_empty_and_differentiable() -> None:
    weights = [torch.randn(16, 8, requires_grad=True), torch.randn(3, 16, requires_grad=True)]
    mlp(torch.zeros(0, 8), weights).sum().backward()
    assert weights[0].grad is not None
    assert not weights[0].grad.any()


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 1, 1), (3, 5, 90), (2, 70, 13), (2, 131, 261)])
def test_similarity_agrees_with_float64(isa: str, shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[1])
    target = torch.rand(shape, generator=generator)
    image = (target + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1)
    found, truth = image.clone().requires_grad_(), image.double().requires_grad_()
    value, exact = ssim(found, target), ssim(truth, target.double(), backend="torch")
    (3 * value).backward()
    (3 * exact).backward()
    assert abs(value.item() - exact.item()) < 1e-6
    assert relative(found.grad, truth.grad) < 1e-4


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 2, 1), (2, 131, 261)])
def test_the_loss_agrees_with_float64(isa: str, shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[1])
    target = torch.rand(shape, generator=generator)
    image = (target + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1)
    image[0, 0] = target[0, 0]  # where both are equal, L1 has no slope
    found, truth = image.clone().requires_grad_(), image.double().requires_grad_()
    exact = (truth - target.double()).abs().mean() + 0.2 * (1 - ssim(truth, target.double(), backend="torch"))
    value = photometric_loss(found, target, 0.2)
    value.backward()
    exact.backward()
    assert abs(value.item() - exact.item()) < 1e-6
    assert relative(found.grad, truth.grad) < 1e-4
    in_torch = photometric_loss(image.double(), target.double(), 0.2, backend="torch")
    assert abs(in_torch.item() - exact.item()) < 1e-12


@pytest.mark.parametrize("shape", [(31, 31), (64, 45), (90, 131)])
def test_the_perceptual_distance_agrees_with_float64(isa: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[1])
    target = torch.rand(3, *shape, generator=generator)
    image = (target + 0.2 * torch.randn(3, *shape, generator=generator)).clamp(0, 1)
    image[:, :9, :9] = 0.5  # one colour: many pixels of a pooling are equally great
    network = made_up_lpips()
    found, truth = image.clone().requires_grad_(), image.double().requires_grad_()
    value = network.distance(found, target)
    exact = network.distance(truth, target.double(), backend="torch")
    (3 * value).backward()
    (3 * exact).backward()
    assert abs(value.item() / exact.item() - 1) < 1e-5
    assert relative(found.grad, truth.grad) < 1e-4


def test_a_perceptual_network_takes_pictures_that_are_views_and_leaves_the_target_alone() -> None:
    network, generator = made_up_lpips(), torch.Generator().manual_seed(0)
    whole = torch.rand(3, 80, 90, generator=generator, requires_grad=True)
    target = torch.rand(3, 40, 50, generator=generator, requires_grad=True)
    network.distance(whole[:, 10:50, 20:70], target).backward()
    assert target.grad is None
    assert whole.grad is not None
    inside = whole.grad[:, 10:50, 20:70]
    assert inside.any()
    assert not (whole.grad.sum() - inside.sum()).abs() > 1e-6


def test_similarity_away_from_the_border_is_that_of_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(5)
    target = torch.rand(1, 40, 40, generator=generator)
    image = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    # A constant frame of 5 pixels makes the zero padding irrelevant inside; compare the maps' means there.
    _, peer = structural_similarity(
        image[0].numpy(),
        target[0].numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    inner = peer[5:-5, 5:-5].mean()
    whole = float(ssim(image, target)) * 40 * 40
    # The sum over the border alone, from float64, must close the gap exactly.
    border = _border_sum(image, target)
    assert abs((whole - border) / (30 * 30) - inner) < 1e-4


def _border_sum(image: Tensor, target: Tensor) -> float:
    """Sum of the zero-padded SSIM map over the 5-pixel border, written out pixel by pixel in float64."""
    taps = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / 4.5)
    window = torch.outer(taps, taps) / taps.sum() ** 2
    a, b = (torch.nn.functional.pad(t[0].double(), (5, 5, 5, 5)) for t in (image, target))
    total = 0.0
    for y in range(40):
        for x in range(40):
            if 5 <= y < 35 and 5 <= x < 35:
                continue
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            m, n = float((window * p).sum()), float((window * q).sum())
            variance = float((window * (p * p + q * q)).sum()) - m * m - n * n
            covariance = float((window * p * q).sum()) - m * n
            total += (2 * m * n + 1e-4) * (2 * covariance + 9e-4) / ((m * m + n * n + 1e-4) * (variance + 9e-4))
    return total


def test_similarity_of_equal_pictures_is_one() -> None:
    picture = torch.rand(3, 20, 20, requires_grad=True)
    value = ssim(picture, picture.detach())
    value.backward()
    assert abs(float(value.detach()) - 1.0) < 1e-6
    assert picture.grad is not None
    assert picture.grad.abs().max() < 1e-6


def test_reference_network_and_similarity_pass_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(o, i, generator=generator, dtype=torch.float64) for i, o in ((3, 4), (4, 2))]
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    leaves = tuple(t.requires_grad_() for t in (x, *weights))
    assert torch.autograd.gradcheck(lambda first, *rest: mlp(first, rest, backend="torch"), leaves)
    target = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64)
    image = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda picture: ssim(picture, target, backend="torch"), (image,))
