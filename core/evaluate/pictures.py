"""Picture metrics on [H, W, 3] uint8 sRGB frames: PSNR and SSIM, and the box of crop F. Definitions: docs/metrics.md.

Knows no avatar, no video files and no torch.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""

IDENTICAL_DB = 100.0
"""PSNR reported for two equal pictures, whose PSNR has no value; also the most that any pair can score."""
FACE_MARGIN = 20.0
"""Pixels around the face box, for a frame of 512."""


def psnr(rendered: npt.NDArray[np.uint8], recorded: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of one frame over all pixels and channels, dB, at most `IDENTICAL_DB`."""
    error = float(np.square(rendered.astype(np.float64) - recorded).mean())
    return min(IDENTICAL_DB, 10 * math.log10(255**2 / error)) if error > 0 else IDENTICAL_DB


def ssim(rendered: npt.NDArray[np.uint8], recorded: npt.NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004), mean over pixels and channels.

    11x11 Gaussian window of sigma 1.5, K = (0.01, 0.03). The five pixels at each border, whose windows are not
    whole, are left out. Both sides must be at least 11 pixels.
    """
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)

    def blur(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        blurred = cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred[5:-5, 5:-5])

    a, b = rendered.astype(np.float64), recorded.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())


def face_box(landmarks: npt.NDArray[np.float32], size: int) -> Box:
    """Crop F: one box for the whole test, so that a crop can't follow a rendered head that drifts.

    Args:
        landmarks: [T, 478, 3] recorded landmarks in pixels.
        size: side S of the frames.

    Returns:
        The median over frames of the landmarks' bounding box, `FACE_MARGIN` * S / 512 wider on each side, inside the
        frame.
    """
    face = landmarks[:, :468, :2]
    low, high = np.median(face.min(1), axis=0), np.median(face.max(1), axis=0)
    margin = FACE_MARGIN * size / 512
    left, top = (max(0, int(v - margin)) for v in low)
    right, bottom = (min(size, int(v + margin)) for v in high)
    return left, top, right, bottom


def cut(frame: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    """The part of `frame` inside `box`."""
    left, top, right, bottom = box
    return frame[top:bottom, left:right]
