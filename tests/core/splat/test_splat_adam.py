"""One step of Adam: what torch's own optimisers do, in one pass over all tensors."""

import pytest
import torch

from core.splat import AdamTensor, adam_step

BETAS = (0.9, 0.99)
SIZES = [(1,), (7,), (8,), (3, 5), (130, 3), (3, 12, 1681), (2, 0)]


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for size in SIZES]


def state(values):
    return [(torch.zeros_like(v), torch.zeros_like(v)) for v in values]


def run(values, moments, backend, steps=3):
    for step in range(1, steps + 1):
        gradients = tensors(step)
        moving = [
            AdamTensor(value, gradient, *both, 0.1 * (1 + number), 0.01 * number)
            for number, (value, gradient, both) in enumerate(zip(values, gradients, moments, strict=True))
        ]
        adam_step(moving, step, BETAS, 1e-8, backend=backend)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_steps_are_those_of_torch(backend):
    values, moments = tensors(), state(tensors())
    run(values, moments, backend)
    theirs = [value.double().requires_grad_() for value in tensors()]
    groups = [{"params": [v], "lr": 0.1 * (1 + n), "weight_decay": 0.01 * n} for n, v in enumerate(theirs)]
    peer = torch.optim.AdamW(groups, betas=BETAS, eps=1e-8)
    for step in (1, 2, 3):
        for value, gradient in zip(theirs, tensors(step), strict=True):
            value.grad = gradient.double()
        peer.step()
    for mine, other in zip(values, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other.detach(), rtol=1e-5, atol=4e-6)


def test_a_gradient_of_any_stride_is_read_right():
    generator = torch.Generator().manual_seed(3)
    value, gradient = torch.zeros(5, 3), torch.randn(3, 5, generator=generator)
    adam_step([AdamTensor(value, gradient.T, *state([value])[0], 0.1)], 1, BETAS, 1e-8)
    torch.testing.assert_close(value, -0.1 * gradient.T.sign())


def test_nothing_to_move_is_no_error():
    adam_step([], 1, BETAS, 1e-8)


def test_what_cannot_be_changed_in_place_is_refused():
    value = torch.zeros(4, 3)
    zeros = (torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"tensors\[0\]\.value is changed in place"):
        adam_step([AdamTensor(torch.zeros(3, 4).T, value, *zeros, 0.1)], 1, BETAS, 1e-8)
    with pytest.raises(ValueError, match=r"tensors\[0\]\.second must have shape \[4, 3\]"):
        adam_step([AdamTensor(value, value.clone(), zeros[0], torch.zeros(3), 0.1)], 1, BETAS, 1e-8)
    with pytest.raises(TypeError, match=r"tensors\[0\]\.gradient must be torch\.float32"):
        adam_step([AdamTensor(value, value.double(), *zeros, 0.1)], 1, BETAS, 1e-8)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        adam_step([AdamTensor(value, value.clone(), *zeros, 0.1)], 0, BETAS, 1e-8)
