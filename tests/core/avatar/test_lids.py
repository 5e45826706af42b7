"""Lids that close by a map over head space."""

import torch

from core.avatar import FaceField
from core.avatar.lids import COLUMNS, EXTENT, ROWS, empty_lids, lid_displacement
from core.avatar.still import StillFace

LEFT, BOTTOM, RIGHT, TOP = EXTENT
WINDOWS = torch.rand(8, 16, 64)


def ramp() -> torch.Tensor:
    """A map whose y displacement grows from left to right."""
    lids = empty_lids()
    lids[1] = torch.linspace(0, -0.006, COLUMNS).expand(ROWS, COLUMNS)
    return lids


def test_bilinear_inside_and_nothing_outside() -> None:
    middle = torch.tensor([[(LEFT + RIGHT) / 2, (BOTTOM + TOP) / 2, 0.03]])
    outside = torch.tensor([[LEFT - 0.01, 0.0, 0.0], [0.0, TOP + 0.01, 0.0]])
    assert torch.allclose(lid_displacement(ramp(), middle), torch.tensor([[0.0, -0.003, 0.0]]), atol=1e-6)
    assert not lid_displacement(ramp(), outside).any()


def test_a_field_with_lids_moves_by_them_in_proportion_to_the_blink() -> None:
    points = torch.tensor([[0.03, -0.005, 0.03], [0.0, -0.07, 0.02]])
    field = FaceField(lids=True)
    field.lids = ramp()
    open_eyes, shut = torch.zeros(6), torch.tensor([0.0, 0, 0, 0, 0, 1])
    field.expression_gate[-1].data.zero_()  # the network itself does not hear blinks
    moved = field(points, WINDOWS, shut).translation - field(points, WINDOWS, open_eyes).translation
    half = field(points, WINDOWS, shut / 2).translation - field(points, WINDOWS, open_eyes).translation
    assert torch.allclose(moved, lid_displacement(ramp(), points), atol=1e-7)
    assert torch.allclose(half, moved / 2, atol=1e-7)


def test_a_still_face_blinks_as_the_field_does() -> None:
    points = torch.rand(50, 3) * 0.08 - 0.04
    field = FaceField(aligned=True, lids=True)
    field.lids = ramp()
    expression = torch.tensor([0.1, 0.2, 0, 0, 0.4, 0.8])
    speech, _ = field.condition(WINDOWS, expression)
    still = StillFace(field, points).move(speech, expression)
    assert torch.allclose(still.translation, field(points, WINDOWS, expression).translation, atol=1e-6)
