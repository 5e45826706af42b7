"""The pinhole camera that clip, splat and avatar share. Knows no images and no torch.

OpenCV convention: x right, y down, z forward; pixel centres at +0.5; metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Camera:
    """A pinhole camera of `width` x `height` pixels."""

    fx: float
    """Focal length in pixels, horizontal."""
    fy: float
    """Focal length in pixels, vertical."""
    cx: float
    """Principal point in pixels (the image's centre is width / 2)."""
    cy: float
    width: int
    height: int

    @staticmethod
    def centred(focal: float, size: int) -> Camera:
        """A square camera whose principal point is the image's centre."""
        return Camera(focal, focal, size / 2, size / 2, size, size)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera that sees only the given pixel box of this one."""
        return replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)

    def scaled(self, factor: float) -> Camera:
        """The same view at `factor` times the resolution."""
        return Camera(
            self.fx * factor,
            self.fy * factor,
            self.cx * factor,
            self.cy * factor,
            round(self.width * factor),
            round(self.height * factor),
        )
