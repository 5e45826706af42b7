"""The same bits over repeats, thread counts, concurrent callers and a fork."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch
from torch import Tensor

from core.splat import AdamTensor, adam_step, encode_triplane, library, mlp, move, rasterize, ssim
from core.splat.benchmark import made_up_lpips
from core.splat.scene import benchmark_scene


def one_step() -> list[Tensor]:
    """A small training step through every kernel: values and gradients."""
    generator = torch.Generator().manual_seed(4)
    scene = benchmark_scene(4500, 96, 5)
    leaves = [t.clone().requires_grad_() for t in scene.tensors()]
    drawn = rasterize(*leaves, scene.world_to_camera, scene.camera, torch.full((5,), 0.5))
    similarity = ssim(drawn.image[:3], torch.rand(3, 96, 96, generator=generator))
    points = (torch.rand(1500, 3, generator=generator) - 0.5).requires_grad_()
    table = torch.randn(3, 4, 700, generator=generator).requires_grad_()
    weights = [torch.randn(32, 12, generator=generator), torch.randn(7, 32, generator=generator)]
    weights = [w.requires_grad_() for w in weights]
    raw = [
        torch.randn(size, generator=generator).requires_grad_() for size in ((2500, 3), (2500, 4), (2500, 3), (2500,))
    ]
    motion = torch.randn(1900, 10, generator=generator).requires_grad_()
    shape = move(*raw, motion[:, :3], motion[:, 3:7], motion[:, 7:])
    features = encode_triplane(points, table, torch.tensor([5, 9, 15, 25], dtype=torch.int32), 0.5)
    output = mlp(features, weights)
    (drawn.image.square().mean() + similarity + drawn.alpha.mean() + output.square().mean()).backward()
    (
        shape.means.sum() + shape.quaternions.sum() + shape.scales.sum() + shape.opacities.sum() + shape.magnitude
    ).backward()
    gradients = [leaf.grad for leaf in (*leaves, points, table, *weights, *raw, motion)]
    assert drawn.screen.gradient is not None
    moved = table.detach().clone()
    moments = torch.zeros_like(moved), torch.zeros_like(moved)
    adam_step([AdamTensor(moved, torch.ones_like(moved), *moments, 0.1)], 1, (0.9, 0.99), 1e-8)
    return [
        drawn.image,
        drawn.alpha,
        similarity,
        output,
        shape.scales,
        shape.magnitude,
        drawn.screen.gradient,
        moved,
        *(g for g in gradients if g is not None),
    ]


def one_look() -> list[Tensor]:
    """A perceptual distance and its gradient, with random weights."""
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(3, 70, 90, generator=generator, requires_grad=True)
    distance = made_up_lpips().distance(image, torch.full((3, 70, 90), 0.3))
    distance.backward()
    assert image.grad is not None
    return [distance, image.grad]


def test_a_perceptual_distance_gives_the_same_bits_on_any_number_of_threads(isa: str, threads: None) -> None:
    library.set_threads(1)
    expected = one_look()
    for count in (1, 2, 3, 5):
        library.set_threads(count)
        for mine, theirs in zip(one_look(), expected, strict=True):
            assert torch.equal(mine, theirs)


def assert_equal_bits(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second) == 22
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_step_gives_the_same_bits_again_and_on_any_number_of_threads(isa: str, threads: None) -> None:
    library.set_threads(1)
    expected = one_step()
    assert_equal_bits(expected, one_step())
    for count in (2, 3, 5):
        library.set_threads(count)
        assert library.threads() == count
        assert_equal_bits(expected, one_step())


def test_callers_on_several_threads_do_not_disturb_each_other() -> None:
    expected = one_step()
    results: list[list[Tensor]] = []
    callers = [threading.Thread(target=lambda: results.append(one_step())) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 3
    for result in results:
        assert_equal_bits(expected, result)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_can_go_on(threads: None) -> None:
    """Celery forks its workers after the import; the pool's threads don't survive that."""
    library.set_threads(2)
    picture = torch.rand(3, 200, 200, generator=torch.Generator().manual_seed(0))
    other = picture.flip(1)  # here: torch's own OpenMP threads don't survive a fork
    expected = float(ssim(picture, other))
    child = os.fork()
    if child == 0:
        same = float(ssim(picture, other)) == expected
        os._exit(0 if same else 3)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the forked child hangs")
