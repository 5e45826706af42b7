"""The mouth's grown alpha is the maximum over a window, wherever the mouth is in the picture."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from core.avatar.drawing import dilate, dilation_window


@pytest.mark.parametrize("box", [(40, 60, 30, 70), (0, 9, 0, 5), (88, 97, 100, 111), (0, 97, 0, 111), (50, 51, 2, 3)])
def test_the_grown_alpha_is_the_maximum_over_the_window(box: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = box
    alpha = torch.zeros(97, 111)
    alpha[top:bottom, left:right] = torch.rand(bottom - top, right - left, generator=torch.Generator().manual_seed(0))
    found, truth = alpha.clone().requires_grad_(), alpha.clone().requires_grad_()
    window = dilation_window(512)
    grown, exact = dilate(found, 512), F.max_pool2d(truth[None, None], window, stride=1, padding=window // 2)[0, 0]
    assert torch.equal(grown, exact)
    upstream = torch.rand(97, 111, generator=torch.Generator().manual_seed(1))
    (grown * upstream).sum().backward()
    (exact * upstream).sum().backward()
    inside = truth.detach() > 0
    assert torch.allclose(found.grad[inside], truth.grad[inside], rtol=1e-5)


def test_no_mouth_stays_none() -> None:
    assert not dilate(torch.zeros(20, 30, requires_grad=True), 512).any()
