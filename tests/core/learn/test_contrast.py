"""Equations 6-7: only what two people's own motions have in common costs, and only one of them is told."""

from __future__ import annotations

import pytest
import torch

from core.learn.contrast import negative_contrast

ALONG_X, ALONG_Y = torch.tensor([1.0, 0, 0]).repeat(7, 1), torch.tensor([0, 1.0, 0]).repeat(7, 1)


@pytest.mark.parametrize("partner", [ALONG_Y, -ALONG_X, torch.zeros(7, 3)], ids=["orthogonal", "opposed", "vanishing"])
def test_motions_with_nothing_in_common_cost_nothing(partner: torch.Tensor) -> None:
    own = ALONG_X.clone().requires_grad_(True)
    loss = negative_contrast(own, [partner])
    assert loss.item() == 0
    loss.backward()
    assert own.grad is not None and own.grad.abs().max() == 0


def test_a_vanishing_motion_costs_nothing_against_any_partner() -> None:
    assert negative_contrast(torch.zeros(7, 3), [ALONG_X, ALONG_Y]).item() == 0


def test_aligned_motions_cost_their_product_summed_over_partners() -> None:
    own = 2 * ALONG_X + 3 * ALONG_Y
    assert negative_contrast(own, [ALONG_X]).item() == pytest.approx(2)
    assert negative_contrast(own, [ALONG_X, ALONG_Y, -ALONG_X]).item() == pytest.approx(5)


def test_opposed_points_do_not_pay_for_aligned_ones() -> None:
    partner = torch.cat([ALONG_X[:4], -ALONG_X[4:]])
    assert negative_contrast(ALONG_X, [partner]).item() == pytest.approx(4 / 7)


def test_no_gradient_reaches_a_partner() -> None:
    own, partner = ALONG_X.clone().requires_grad_(True), ALONG_X.clone().requires_grad_(True)
    negative_contrast(own, [partner]).backward()
    assert partner.grad is None
    assert own.grad is not None and torch.equal(own.grad, ALONG_X / 7)


def test_without_partners_there_is_nothing_to_pay() -> None:
    assert negative_contrast(ALONG_X, []).item() == 0
