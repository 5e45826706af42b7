"""LPIPS: the network's shape against torch modules, its weights against a known picture pair's properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import nn

from core.errors import MissingModelError
from core.models import locate
from core.perceptual import Lpips


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
    weights = {}
    for k, (out, into, side) in enumerate(shapes, 1):
        weights[f"conv{k}.weight"] = torch.randn(out, into, side, side, generator=generator) / (into * side**2) ** 0.5
        weights[f"conv{k}.bias"] = torch.randn(out, generator=generator) * 0.1
        weights[f"lin{k}.weight"] = torch.rand(out, generator=generator)
    return weights


def alexnet(weights: dict[str, torch.Tensor]) -> nn.Sequential:
    """torchvision's `alexnet().features` without its last pooling, layer by layer."""
    convolutions = [nn.Conv2d(3, 64, 11, 4, 2), nn.Conv2d(64, 192, 5, 1, 2), nn.Conv2d(192, 384, 3, 1, 1)]
    convolutions += [nn.Conv2d(384, 256, 3, 1, 1), nn.Conv2d(256, 256, 3, 1, 1)]
    layers: list[nn.Module] = []
    for k, convolution in enumerate(convolutions, 1):
        convolution.load_state_dict({"weight": weights[f"conv{k}.weight"], "bias": weights[f"conv{k}.bias"]})
        layers += [convolution, nn.ReLU(), *([nn.MaxPool2d(3, 2)] if k < 3 else [])]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("shape", [(31, 31), (97, 80), (128, 71)])
def test_the_distance_is_the_papers_equation_over_alexnets_layers(shape: tuple[int, int]) -> None:
    weights = random_weights()
    a, b = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8)
    scaled = [torch.from_numpy(x).permute(2, 0, 1)[None].double() / 255 for x in (a, b)]
    # The paper's inputs are -1..1 with its own shift and scale: nearly ImageNet's mean and deviation of 0..1.
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1).double() for v in ((-0.03, -0.088, -0.188), (0.458, 0.448, 0.45)))
    x, y = ((2 * s - 1 - shift) / scale for s in scaled)
    expected, tap = 0.0, 0
    with torch.no_grad():
        for layer in alexnet(weights).double():
            x, y = layer(x), layer(y)
            if isinstance(layer, nn.ReLU):
                tap += 1
                unit_x, unit_y = (nn.functional.normalize(v, dim=1, eps=1e-10) for v in (x, y))
                weighted = (unit_x - unit_y) ** 2 * weights[f"lin{tap}.weight"].double().view(1, -1, 1, 1)
                expected += float(weighted.sum(1).mean())
    assert tap == 5
    assert Lpips(weights).distance(a, b) == pytest.approx(expected, rel=1e-4)


def test_pictures_too_small_or_of_two_shapes_are_our_own_mistake() -> None:
    network = Lpips(random_weights())
    for a, b in (((30, 80), (30, 80)), ((80, 80), (80, 81))):
        with pytest.raises(ValueError, match="at least 31"):
            network.distance(np.zeros((*a, 3), np.uint8), np.zeros((*b, 3), np.uint8))


@pytest.fixture(scope="module")
def network() -> Lpips:
    try:
        return Lpips.published()
    except MissingModelError:
        pytest.skip("the LPIPS weights are not on this machine: likeness models fetch")


def test_real_weights_rank_a_blur_above_a_faint_shade_and_call_equal_pictures_equal(network: Lpips) -> None:
    face = np.ascontiguousarray(astronaut()[0:256, 96:352])
    blurred = torch.from_numpy(face).permute(2, 0, 1)[None].float()
    blurred = nn.functional.avg_pool2d(blurred, 9, 1, 4, count_include_pad=False)
    soft = blurred[0].permute(1, 2, 0).byte().numpy()
    shaded = (face * 0.93).astype(np.uint8)
    assert network.distance(face, face) < 1e-12
    assert network.distance(soft, face) == pytest.approx(network.distance(face, soft), rel=1e-5)
    assert 0 < network.distance(shaded, face) < 0.1
    assert 0.25 < network.distance(soft, face) < 0.9


def test_the_linear_layers_are_the_published_ones(network: Lpips) -> None:
    """Zhang et al. keep them non-negative, so that no difference can make two pictures more alike."""
    del network
    from safetensors.torch import load_file

    weights = load_file(locate("lpips_alexnet"))
    assert all(bool((weights[f"lin{k}.weight"] >= 0).all()) for k in range(1, 6))


def test_following_the_gradient_brings_the_distance_down_and_leaves_the_recording_alone(network: Lpips) -> None:
    truth = torch.from_numpy(astronaut()[20:148, 160:288].copy()).permute(2, 0, 1).float() / 255
    soft = nn.functional.avg_pool2d(truth[None], 7, 1, 3, count_include_pad=False)[0].requires_grad_(True)
    truth.requires_grad_(True)
    start = network.loss(soft, truth)
    start.backward()
    assert truth.grad is None
    assert soft.grad is not None
    assert bool(torch.isfinite(soft.grad).all())
    with torch.no_grad():
        closer = soft - 0.01 * soft.grad / soft.grad.abs().max()
    assert float(network.loss(closer, truth).detach()) < float(start.detach())


def test_pictures_of_one_colour_have_finite_gradients(network: Lpips) -> None:
    black = torch.zeros(3, 64, 64, requires_grad=True)
    network.loss(black, torch.ones(3, 64, 64)).backward()
    assert black.grad is not None
    assert bool(torch.isfinite(black.grad).all())
