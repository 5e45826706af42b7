"""What finished frames are made with: the network for inference and the composition of layers."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from core.splat import Layer, composite, mlp, mlp_from


@pytest.mark.parametrize(("inputs", "first", "rest"), [(38, 64, (64, 10)), (3, 16, (16, 1)), (5, 32, (3,))])
def test_a_network_goes_on_from_a_constant_part_of_its_first_layer(inputs, first, rest):
    generator = torch.Generator().manual_seed(1)
    fixed = torch.randn(101, 36, generator=generator)
    x = torch.randn(101, inputs, generator=generator)
    widths = (36 + inputs, first, *rest)
    weights = [torch.randn(o, i, generator=generator) / i**0.5 for i, o in pairwise(widths)]
    whole = mlp(torch.cat([fixed, x], 1).double(), [w.double() for w in weights], backend="torch")
    layers = [weights[0][:, 36:], *weights[1:]]
    for backend in ("native", "torch"):
        torch.testing.assert_close(
            mlp_from(fixed @ weights[0][:, :36].T, x, layers, backend=backend).double(), whole, rtol=1e-4, atol=1e-5
        )


def layers(generator, face_box, mouth_box):
    def layer(box):
        left, top, width, height = box
        alpha = torch.rand(height, width, generator=generator)
        return Layer(torch.rand(3, height, width, generator=generator) * alpha, alpha, left, top)

    return layer(face_box), layer(mouth_box)


@pytest.mark.parametrize(
    ("face_box", "mouth_box"),
    [((16, 0, 64, 80), (32, 40, 32, 16)), ((0, 0, 96, 96), (0, 0, 96, 96)), ((3, 5, 17, 9), (7, 8, 1, 1))],
)
@pytest.mark.parametrize("window", [1, 7, 13])
def test_composition_is_the_one_of_the_reference(face_box, mouth_box, window):
    generator = torch.Generator().manual_seed(2)
    face, mouth = layers(generator, face_box, mouth_box)
    backdrop = torch.randint(0, 256, (96, 96, 3), generator=generator, dtype=torch.uint8)
    for inside in (mouth, None):
        drawn = composite(face, inside, window, backdrop, backend="native").int()
        expected = composite(face, inside, window, backdrop, backend="torch").int()
        assert (drawn - expected).abs().max() <= 1  # a sum that rounds the other way
        assert (drawn != expected).float().mean() < 1e-3
    left, top, width, height = face_box
    outside = np.ones((96, 96), bool)
    outside[top : top + height, left : left + width] = False
    assert torch.equal(composite(face, mouth, window, backdrop)[outside], backdrop[outside])


def test_boxes_that_leave_their_frame_are_refused():
    generator = torch.Generator().manual_seed(3)
    backdrop = torch.zeros(32, 32, 3, dtype=torch.uint8)
    face, mouth = layers(generator, (0, 0, 16, 16), (8, 8, 16, 16))
    with pytest.raises(ValueError, match="mouth: its box"):
        composite(face, mouth, 3, backdrop)
    with pytest.raises(ValueError, match="face: its box"):
        composite(Layer(face.image, face.alpha, 20, 0), None, 3, backdrop)
    with pytest.raises(ValueError, match="odd"):
        composite(face, None, 4, backdrop)
    with pytest.raises(TypeError, match="uint8"):
        composite(face, None, 3, backdrop.float())
