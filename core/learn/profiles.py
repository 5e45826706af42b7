"""How long each branch learns and how many Gaussians it may have: the profiles that `likeness adapt` offers."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import UsageError


@dataclass(frozen=True)
class BranchSchedule:
    """Schedule of one branch; iterations count single frames."""

    iterations: int
    cap: int
    """Density control never goes above this many Gaussians."""
    gradient_threshold: float
    """Mean screen-space gradient (loss per normalised device unit, rescaled to the whole frame) above which a Gaussian
    is cloned or split."""
    densify_from: int = 300
    densify_every: int = 100
    densify_until: float = 0.75
    """Fraction of the iterations."""
    minimum_opacity: float = 0.03
    maximum_scale: float = 0.05
    """Metres; larger Gaussians are removed."""
    position_rate: float = 3.2e-5
    """Metres a step at the start; decays a hundredfold (3DGS's 1.6e-4 times a scene extent of 0.1 m, doubled)."""
    field_rate: float = 1.0
    """Factor on the motion field's learning rates."""


@dataclass(frozen=True)
class Profile:
    """A trade between time and quality."""

    name: str
    size: int
    """Side of the frames in pixels."""
    surface_points: int
    """Start points on the face mesh."""
    shell_points: int
    """Start points on the head's shell: hair, ears, back."""
    mouth_points: int
    face: BranchSchedule
    mouth: BranchSchedule
    fuse_iterations: int
    perceptual: float = 0.0
    """Weight of LPIPS on patches, late in the face stage and while fusing; 0 leaves it out."""
    perceptual_every: int = 2
    """Iterations of the face stage to a patch: one costs as much as a third of all the rest of an iteration."""
    fuse_perceptual_every: int = 1
    """Iterations of the fuse stage to a patch."""


@dataclass(frozen=True)
class Method:
    """Which parts of the method an adaptation has. Products are made by the whole; an ablation leaves one out."""

    aligner: bool = True
    """Motion aligner (paper, equations 8-9); without it the universal field answers as it is."""
    hook: bool = True
    """Face-mouth hook (equations 10-11); without it the mouth hears speech alone."""
    mouth_branch: bool = True
    """A branch of its own for the mouth's interior; without it the face branch learns that too."""
    lids: bool = True
    """Lids that close as this person's do (core.learn.lids); without them the field alone has to learn blinks."""
    perceptual: bool = True
    """LPIPS on patches."""


WHOLE = Method()

PROFILES = {
    made.name: made
    for made in (
        Profile(
            "draft", 256, 1800, 1600, 900,
            BranchSchedule(1200, 6000, 3e-4), BranchSchedule(800, 1800, 2e-4), 150, perceptual=0.1,
        ),
        Profile(
            "standard", 512, 3000, 2500, 2500,
            BranchSchedule(2500, 12000, 3e-4), BranchSchedule(1500, 6000, 2e-4), 500, perceptual=0.2,
            perceptual_every=1,
        ),
        Profile(
            "paper", 512, 3000, 2500, 2500,
            BranchSchedule(10000, 12000, 3e-4), BranchSchedule(10000, 6000, 2e-4), 2000, perceptual=0.2,
            perceptual_every=4, fuse_perceptual_every=4,
        ),
    )
}  # fmt: skip


def profile(name: str) -> Profile:
    """The profile of this name.

    Raises:
        UsageError: `profile_unknown`.
    """
    if name not in PROFILES:
        raise UsageError("profile_unknown", f"There is no profile '{name}'.", f"Choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]
