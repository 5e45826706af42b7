"""Convolutions along time: what Conv1d and leaky ReLU give, gradients included."""

import pytest
import torch

from core.splat import convolve

SPEECH = [(64, 3, 2)] * 4 + [(64, 1, 1)]
CASES = [
    (8, 16, 64, SPEECH),
    (1, 8, 32, [(16, 3, 1), (8, 3, 1), (4, 3, 1), (2, 3, 1), (1, 3, 1)]),
    (37, 5, 3, [(7, 5, 1), (9, 3, 3)]),
    (300, 2, 1, [(1, 1, 1)]),
    (0, 4, 3, [(5, 3, 2)]),
]


def chain(steps, channels, layers, items, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape, scale=1.0):
        return (scale * torch.randn(*shape, generator=generator)).to(dtype).requires_grad_()

    x, weights, biases = leaf(items, steps, channels), [], []
    for out, side, _ in layers:
        weights.append(leaf(out, channels, side, scale=(channels * side) ** -0.5))
        biases.append(leaf(out, scale=0.1))
        channels = out
    return x, weights, biases, [stride for _, _, stride in layers]


def values_and_gradients(x, weights, biases, strides, backend):
    output = convolve(x, weights, biases, strides, 0.02, backend=backend)
    pattern = torch.arange(output.numel(), dtype=x.dtype).cos().view(output.shape)
    return [output, *torch.autograd.grad((output * pattern).sum(), [x, *weights, *biases])]


@pytest.mark.parametrize(("items", "steps", "channels", "layers"), CASES)
def test_values_and_gradients_are_those_of_the_reference_in_double(items, steps, channels, layers):
    native = values_and_gradients(*chain(steps, channels, layers, items), "native")
    exact = values_and_gradients(*chain(steps, channels, layers, items, torch.float64), "torch")
    for mine, theirs in zip(native, exact, strict=True):
        scale = float(theirs.abs().max()) if theirs.numel() else 1.0
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5 * scale)


def test_the_reference_is_torchs_own_layer_and_passes_gradcheck():
    x, weights, biases, strides = chain(5, 3, [(4, 3, 2), (2, 3, 1)], 2, torch.float64)
    layers = torch.nn.Conv1d(3, 4, 3, 2, 1), torch.nn.Conv1d(4, 2, 3, 1, 1)
    y = x.detach().transpose(1, 2)
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        layer.weight, layer.bias = torch.nn.Parameter(weight.detach()), torch.nn.Parameter(bias.detach())
        y = torch.nn.functional.leaky_relu(layer(y), 0.02)
    torch.testing.assert_close(convolve(x, weights, biases, strides, 0.02, backend="torch"), y.transpose(1, 2))
    torch.autograd.gradcheck(
        lambda *leaves: convolve(leaves[0], leaves[1:3], leaves[3:], strides, 0.02, backend="torch"),
        (x, *weights, *biases),
    )


def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same():
    x, weights, biases, strides = chain(16, 64, SPEECH, 8)
    whole = values_and_gradients(x, weights, biases, strides, "native")
    frozen = [weights[0].detach(), *weights[1:]]
    output = convolve(x.detach(), frozen, biases, strides, 0.02, backend="native")
    pattern = torch.arange(output.numel(), dtype=x.dtype).cos().view(output.shape)
    (gradient,) = torch.autograd.grad((output * pattern).sum(), [weights[1]])
    assert torch.equal(gradient, whole[3])


def test_wrong_chains_are_refused():
    x, weights, biases, strides = chain(8, 4, [(6, 3, 1), (2, 3, 1)], 2)
    with pytest.raises(ValueError, match=r"weights\[1\] must have shape"):
        convolve(x, [weights[0], weights[0]], biases, strides, 0.02)
    with pytest.raises(ValueError, match=r"biases\[0\] must have shape \[6\]"):
        convolve(x, weights, biases[::-1], strides, 0.02)
    with pytest.raises(ValueError, match="layer 0: its side must be odd"):
        convolve(x, [weights[0][:, :, :2], weights[1]], biases, strides, 0.02)
    with pytest.raises(ValueError, match=r"layer 1: .* stride"):
        convolve(x, weights, biases, [1, 0], 0.02)
    with pytest.raises(ValueError, match="as many weights"):
        convolve(x, weights, biases, [1], 0.02)
    with pytest.raises(ValueError, match="at least one step"):
        convolve(x[:, :0], weights, biases, strides, 0.02)
    with pytest.raises(ValueError, match="x holds NaN"):
        convolve(torch.full_like(x, float("nan")), weights, biases, strides, 0.02)
    with pytest.raises(ValueError, match=r"leak must lie in 0\.\.1"):
        convolve(x, weights, biases, strides, 2.0)
    with pytest.raises(TypeError):
        convolve(x.double(), weights, biases, strides, 0.02, backend="native")
