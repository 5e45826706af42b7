"""Where the Gaussians of a head start."""

import numpy as np
import torch

from core.camera import Camera
from core.clip.canonical import canonical_face
from core.clip.layout import Label
from core.learn.initialise import SHELL_CENTRE, SHELL_RADII, SHELL_SIDES, SHELL_SLOPE, SHELL_STRETCH, face_gaussians
from core.learn.training_set import TrainingSet

SIZE, SURFACE, SHELL = 256, 300, 400
DISTANCE = 0.8


def head() -> TrainingSet:
    """Two frames of a head without features, looked at from the front: hair in a wide oval."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    oval = ((columns - 128) / 50) ** 2 + ((rows - 128) / 75) ** 2 < 1
    labels = np.where(oval, np.uint8(Label.HAIR), np.uint8(Label.BACKGROUND))[None].repeat(2, 0)
    frames = np.repeat(labels[..., None] * np.uint8(40), 3, -1)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = DISTANCE
    return TrainingSet(
        camera=Camera.centred(450.0, SIZE),
        frames=frames,
        labels=labels,
        poses=pose.repeat(2, 1, 1),
        windows=torch.zeros(2, 8, 16, 64),
        expression=torch.zeros(2, 6),
        head_boxes=[(60, 40, 200, 220)] * 2,
        lip_boxes=[(100, 140, 156, 180)] * 2,
        opening=np.zeros(2),
        mouth_area=np.zeros(2, np.int64),
    )


def shell() -> torch.Tensor:
    """[SHELL, 3]"""
    return face_gaussians(head(), canonical_face(), SURFACE, SHELL, 0).means.detach()[SURFACE:].double()


def test_the_shell_is_seen_as_head_and_outside_the_face() -> None:
    points = shell()
    depth = DISTANCE - points[:, 2]
    columns, rows = 128 + 450 * points[:, 0] / depth, 128 - 450 * points[:, 1] / depth
    assert len(points) == SHELL
    assert (((columns - 128) / 51) ** 2 + ((rows - 128) / 76) ** 2 < 1).all()


def test_hair_goes_back_further_than_the_ellipsoid() -> None:
    points = shell()
    behind = (points[:, 2] - SHELL_SIDES).clamp(max=0)
    ahead = points[:, 2] - behind * (1 - 1 / SHELL_STRETCH)
    depth, before = DISTANCE - points[:, 2], DISTANCE - ahead  # pixels stay: across, a point grows with its distance
    across = points[:, :2] * (before / depth)[:, None]
    centre, radii = torch.from_numpy(SHELL_CENTRE), torch.from_numpy(SHELL_RADII)
    unstretched = (torch.cat([across, ahead[:, None]], 1) - centre) / radii
    away = torch.cdist(across, torch.from_numpy(canonical_face().vertices)[:, :2]).amin(1) > SHELL_SLOPE
    hit = ((across / radii[:2]).norm(dim=1) < 0.9) & away
    assert hit.sum() > SHELL / 10
    assert torch.allclose(unstretched[hit].norm(dim=1), torch.ones(1, dtype=torch.float64), atol=1e-3)
    assert points[:, 2].min() < SHELL_CENTRE[2] - 0.03


def test_beside_the_face_a_head_goes_on_where_the_mesh_ends() -> None:
    points = shell()
    vertices = torch.from_numpy(canonical_face().vertices)
    distance, nearest = torch.cdist(points[:, :2], vertices[:, :2]).min(1)
    beside = (points[:, 1] < 0.03) & (distance < 0.004)
    assert beside.sum() > 5
    assert ((points[beside, 2] - vertices[nearest[beside], 2]) < 0.005).all()
    away = (points[:, 1] < 0.03) & (distance > 0.02)
    assert points[away, 2].mean() < points[beside, 2].mean() - 0.02


def test_colours_are_those_of_the_pictures() -> None:
    start = face_gaussians(head(), canonical_face(), SURFACE, SHELL, 0)
    assert torch.allclose(start.colors[SURFACE:], torch.tensor(Label.HAIR * 40 / 255), atol=1e-5)
