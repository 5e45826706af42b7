"""What never shows is dropped; what shows in any picture, or after a turn of the head, stays."""

import torch

from core.avatar import Gaussians, Motion
from core.camera import Camera
from core.learn.contribution import TURNED, painted_pixels, recoloured, shows

CAMERA = Camera.centred(700.0, 256)
POSE = torch.eye(4)
POSE[2, 3] = 0.8


def head(extra):
    """A closed wall of opaque Gaussians at z = 0 and some more."""
    x, y = torch.meshgrid(torch.linspace(-0.06, 0.06, 25), torch.linspace(-0.06, 0.06, 25), indexing="ij")
    wall = torch.stack([x.flatten(), y.flatten(), torch.zeros(625)], 1)
    points = torch.cat([wall, torch.tensor(extra)])
    return Gaussians.at(points, torch.rand(len(points), 3), torch.full((len(points),), 0.004), 0.99).frozen()


def test_pixels_painted_are_the_blending_weights_of_the_picture():
    gaussians = head([[0.0, 0.0, -0.05]])
    still = Motion(torch.zeros(626, 3))
    painted = painted_pixels(gaussians, [(still, POSE)], CAMERA)
    alone = 2 * torch.pi * (0.004 * 700 / 0.75) ** 2  # of a round Gaussian with nothing before it
    assert 0.8 * alone < float(painted[-1]) < 1.1 * alone
    assert float(painted.sum()) > 0.8 * (0.12 * 700 / 0.8) ** 2


def test_what_is_hidden_goes_and_what_stands_before_or_beside_stays():
    gaussians = head([[0.0, 0.0, 0.05], [0.0, 0.0, -0.03], [0.09, 0.0, 0.05]])
    still = Motion(torch.zeros(628, 3))
    painted = painted_pixels(gaussians, [(still, POSE)], CAMERA, (0.0, *TURNED))
    kept = gaussians.chosen(shows(painted, 256))
    assert kept.count == 627
    assert not bool((kept.means == torch.tensor([0.0, 0.0, 0.05])).all(1).any())


def test_what_one_picture_hides_another_may_show():
    gaussians = head([[0.0, 0.0, 0.05]])
    still = Motion(torch.zeros(626, 3))
    aside = torch.zeros(626, 3)
    aside[-1, 0] = 0.1
    painted = painted_pixels(gaussians, [(still, POSE), (Motion(aside), POSE)], CAMERA)
    assert shows(painted, 256).sum() == 626


def test_what_only_a_turn_shows_takes_the_colours_about_it():
    gaussians = head([[0.063, 0.0, 0.02]])  # behind the wall's edge
    gaussians.colors[:-1] = torch.tensor([0.8, 0.6, 0.5])
    gaussians.colors[-1] = torch.tensor([1.0, -0.5, 0.2])
    still = Motion(torch.zeros(626, 3))
    aside = shows(painted_pixels(gaussians, [(still, POSE)], CAMERA, TURNED), 256)
    seen = torch.ones(626, dtype=torch.bool)
    seen[-1] = False
    assert aside[-1]
    calm = recoloured(gaussians, seen).colors
    assert torch.equal(calm[:-1], gaussians.colors[:-1]) and torch.equal(calm[-1], calm[0])
    assert recoloured(gaussians, ~seen) is gaussians  # too few to ask
