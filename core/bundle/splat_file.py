"""`head.ply`: the avatar's Gaussians at rest as a standard 3D Gaussian splatting PLY, which any splat viewer opens.

The conventions are those of the format's first tool (Kerbl et al. 2023): log scales, logit opacities, quaternions
wxyz, and colour as the degree-0 spherical harmonic. Knows no avatar and no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SH_DEGREE_0 = 0.28209479177387814
"""1 / (2 sqrt(pi)): the constant spherical harmonic."""

PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
"""All float32, in the file's order."""


@dataclass(frozen=True)
class SplatCloud:
    """N Gaussians in activated form, as a rasteriser takes them."""

    means: npt.NDArray[np.float32]
    """[N, 3] head space, metres."""
    scales: npt.NDArray[np.float32]
    """[N, 3] standard deviations, metres, > 0."""
    quaternions: npt.NDArray[np.float32]
    """[N, 4] wxyz; need not be normalised."""
    opacities: npt.NDArray[np.float32]
    """[N] 0..1."""
    colours: npt.NDArray[np.float32]
    """[N, 3] RGB 0..1."""


def splat_ply(cloud: SplatCloud) -> bytes:
    """The cloud as binary little-endian PLY; opacities are kept off 0 and 1 by 1e-6, where the logit has no value."""
    count = cloud.means.shape[0]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment Likeness head at rest, metres, x right y up z to camera",
    ]
    header += [f"element vertex {count}", *(f"property float {name}" for name in PROPERTIES), "end_header"]
    opacity = np.clip(cloud.opacities.astype(np.float64), 1e-6, 1 - 1e-6)
    norms = np.linalg.norm(cloud.quaternions, axis=1, keepdims=True)
    table = np.concatenate(
        [
            cloud.means,
            np.zeros((count, 3)),
            (cloud.colours - 0.5) / SH_DEGREE_0,
            np.log(opacity / (1 - opacity))[:, None],
            np.log(np.maximum(cloud.scales, 1e-9)),
            cloud.quaternions / np.maximum(norms, 1e-12),
        ],
        axis=1,
    )
    return ("\n".join(header) + "\n").encode("ascii") + table.astype("<f4").tobytes()
