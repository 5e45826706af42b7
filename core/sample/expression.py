"""How the face deforms: jaw, lips and lids as smooth fields over the portrait. Knows no pose and no colours.

The mouth line cuts the face into an upper and a lower sheet. Each has its own smooth displacement of head-space points;
beyond the mouth's corners both are the same, so the sheets part at the lips only. Coefficients:

- `jaw`: how far the chin's teeth drop, metres (0..0.02); a rotation about the axis through the jaw joints.
- `part`: 0 lips together, whatever the jaw does, 1 lips part as far as the jaw does.
- `wide`: -1 rounded and protruded (oo) .. 1 spread (ee); 0 neutral.
- `brow`: 0 rest .. 1 raised.
- `blink`: 0 open as photographed .. 1 shut.
- `gaze`: how far the irises shift right and down, in pixels of a 512-pixel picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from core.sample.geometry import Head

Float = npt.NDArray[np.floating]

INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_LIP_POINTS = (
    0, 11, 12, 13, 37, 38, 39, 40, 41, 42, 72, 73, 74, 80, 81, 82, 183, 184, 185, 191, 267, 268, 269, 270, 271, 272,
    302, 303, 304, 310, 311, 312, 407, 408, 409, 415,
)  # fmt: skip
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
HINGE = (0.0, 0.0, -0.055)
"""The jaw's axis in head space relative to the mesh point between the ears, metres."""
SMILE_RELAX = 0.006
"""How far the corners of the photographed smile come down and in at rest, metres."""


@dataclass(frozen=True)
class Face:
    """Coefficients of one frame (see the module's text)."""

    jaw: float
    part: float
    wide: float
    brow: float
    blink: float
    gaze: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Sheet:
    """Displacement fields over some points [..., 3], metres; in the points' own precision."""

    jaw_weight: Float
    """[...] how much a point turns with the jaw bone while the lips part with it."""
    jaw_weight_closed: Float
    """[...] the same while the lips stay together."""
    relax: Float
    """[..., 3] from the photographed smile to lips just touching."""
    wide: Float
    brow: Float
    points: Float
    hinge: Float

    def displaced(self, face: Face) -> Float:
        """[..., 3] the points after the expression (lids excepted)."""
        angle = face.jaw / 0.1
        weight = self.jaw_weight_closed + (self.jaw_weight - self.jaw_weight_closed) * face.part
        turn = weight * angle
        y = self.points[..., 1] - float(self.hinge[1])
        z = self.points[..., 2] - float(self.hinge[2])
        moved: Float = self.points + self.relax * (1 - 0.22 * face.part) + self.wide * face.wide + self.brow * face.brow
        along, across = np.cos(turn) - 1, np.sin(turn)
        moved[..., 1] += y * along - z * across
        moved[..., 2] += y * across + z * along
        return moved


def _ramp(x: Float) -> Float:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class MouthLine:
    """The portrait's mouth in head space: x right, y up, metres."""

    middle: float
    half: float
    upper: PchipInterpolator
    lower: PchipInterpolator
    corner_left: float
    corner_right: float

    @staticmethod
    def of(landmarks: Float) -> MouthLine:
        """Curves through the inner lip points of [478, 3] head-space landmarks."""
        up, low = landmarks[list(INNER_UPPER)], landmarks[list(INNER_LOWER)]
        order = np.argsort(up[:, 0])
        left, right = up[order[0]], up[order[-1]]
        return MouthLine(
            float((left[0] + right[0]) / 2),
            float((right[0] - left[0]) / 2),
            PchipInterpolator(up[order, 0], up[order, 1]),
            PchipInterpolator(low[np.argsort(low[:, 0]), 0], low[np.argsort(low[:, 0]), 1]),
            float(left[1]),
            float(right[1]),
        )

    def curves(self, x: Float) -> tuple[Float, Float]:
        """Height of the upper and lower inner lip line at x; beyond the corners both go on level."""
        inside = np.clip(x, self.middle - self.half, self.middle + self.half)
        return self.upper(inside), self.lower(inside)

    def contact(self, x: Float) -> Float:
        """Height at which the lips meet."""
        up, low = self.curves(x)
        return 0.5 * up + 0.5 * low

    def openness(self, x: Float) -> Float:
        """0 at the corners and beyond, 1 in the middle: the shape of a mouth that opens."""
        inside = 1 - ((x - self.middle) / self.half) ** 2
        shape: Float = np.clip(inside, 0, 1) ** 0.8
        return shape


def build_sheet(points: Float, mouth: MouthLine, landmarks: Float, upper: bool) -> Sheet:
    """Fields over head-space points [..., 3] for the sheet above (`upper`) or below the mouth line."""
    x, y = points[..., 0], points[..., 1]
    across = (x - mouth.middle) / mouth.half
    up, low = mouth.curves(x)
    contact = mouth.contact(x)
    opens = mouth.openness(x)
    relax = np.zeros_like(points)
    near = np.exp(-0.5 * ((x - mouth.middle) / 0.034) ** 2 - 0.5 * ((y - contact) / 0.02) ** 2)
    relax[..., 0] = -SMILE_RELAX * np.clip(across, -1.3, 1.3) * near
    relax[..., 1] = -SMILE_RELAX * 0.9 * np.clip(np.abs(across), 0, 1.2) ** 2 * near
    meet = (up - contact) * -_ramp(1 - (y - up) / 0.016) if upper else (contact - low) * _ramp(1 - (low - y) / 0.02)
    relax[..., 1] += meet
    # The jaw takes along what lies low once the lips have met, so that both lips' edges are taken along alike.
    closed = _ramp((contact + 0.022 - (y + meet)) / 0.046) * _ramp((0.085 - np.abs(x - mouth.middle)) / 0.045)
    weight = closed * (1 - opens) if upper else closed + (1 - closed) * opens
    wide = np.zeros_like(points)
    spread = np.exp(-0.5 * ((x - mouth.middle) / 0.032) ** 2 - 0.5 * ((y - contact) / 0.017) ** 2)
    wide[..., 0] = 0.0095 * np.clip(across, -1.4, 1.4) * spread
    wide[..., 2] = -0.0035 * spread
    wide[..., 1] = 0.0008 * np.clip(np.abs(across), 0, 1.2) ** 2 * spread
    brow = np.zeros_like(points)
    for centre in landmarks[[105, 334]]:
        across_brow, above_brow = (x - centre[0]) / 0.02, (y - centre[1] - 0.004) / 0.011
        brow[..., 1] += 0.004 * np.exp(-0.5 * across_brow**2 - 0.5 * above_brow**2)
    hinge = np.array(HINGE) + np.array([0.0, landmarks[[127, 356], 1].mean() - 0.015, landmarks[[127, 356], 2].mean()])
    fields = [np.asarray(field, points.dtype) for field in (weight, closed, relax, wide, brow)]
    return Sheet(fields[0], fields[1], fields[2], fields[3], fields[4], points, hinge)


@dataclass(frozen=True)
class Lid:
    """One eye of the portrait, in pixels: lid lines as heights (y down) over x."""

    left: float
    right: float
    upper: PchipInterpolator
    lower: PchipInterpolator
    top: float
    """Pixels above the upper lid line where the skin no longer moves."""

    def contains(self, x: Float) -> npt.NDArray[np.bool_]:
        """Whether x lies between the eye's corners."""
        return np.asarray((x > self.left) & (x < self.right))

    def gaze_weight(self, x: Float, y: Float) -> Float:
        """0..1: how much of the iris's shift the eyeball's surface shows at (x, y)."""
        middle = (self.left + self.right) / 2
        height = (self.upper(middle) + self.lower(middle)) / 2
        far = ((x - middle) / (0.56 * (self.right - self.left))) ** 2 + ((y - height) / (0.7 * self.top)) ** 2
        weight: Float = np.clip(1 - far, 0, 1) ** 1.5
        return weight

    def lines(self, x: Float, blink: float) -> tuple[Float, Float, Float, Float]:
        """At x: upper and lower lid line as photographed, then both during the blink."""
        inside = np.clip(x, self.left, self.right)
        up, low = self.upper(inside), self.lower(inside)
        return up, low, up + (low - up) * 0.86 * blink, low - (low - up) * 0.14 * blink

    def source_of_upper(self, x: Float, y: Float, blink: float) -> Float:
        """Height in the portrait of the upper lid's skin that the blink brings to (x, y)."""
        up, _, now, _ = self.lines(x, blink)
        reach = self.top * np.ones_like(y)
        t = np.clip((y - (up - reach)) / np.maximum(now - up + reach, 1e-3), 0, None)
        # Near the lashes the skin only slides; the fold above them unrolls.
        stretched = up - reach + t * reach
        slid = y - (now - up)
        blend = np.clip((now - y) / (0.35 * reach), 0, 1)
        return np.where(y < up - reach, y, slid + (stretched - slid) * blend)

    def source_of_lower(self, x: Float, y: Float, blink: float) -> Float:
        """Height in the portrait of the lower lid's skin that the blink brings to (x, y)."""
        _, low, _, now = self.lines(x, blink)
        fade = np.clip(1 - (y - now) / self.top, 0, 1)
        return y + (low - now) * fade


def build_lids(pixels: Float) -> tuple[Lid, Lid]:
    """The lids from [478, 2] landmarks in pixels."""
    lids = []
    for above, below in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        up, low = pixels[list(above)], pixels[list(below)]
        width = float(up[-1, 0] - up[0, 0])
        lids.append(
            Lid(
                float(up[0, 0]),
                float(up[-1, 0]),
                PchipInterpolator(up[:, 0], up[:, 1]),
                PchipInterpolator(low[:, 0], low[:, 1]),
                0.42 * width,
            )
        )
    return lids[0], lids[1]


def moved_landmarks(head: Head, mouth: MouthLine, pixels: Float, lids: tuple[Lid, Lid], face: Face) -> Float:
    """[478, 3] the mesh in head space under an expression; the lid points slide over the eye."""
    start = head.landmarks.copy()
    size = head.points.shape[0]
    for lid, above, below in zip(lids, UPPER_LIDS, LOWER_LIDS, strict=True):
        if face.blink == 0:
            continue
        for points, line in ((above, 2), (below, 3)):
            index = list(points)
            height = lid.lines(pixels[index, 0], face.blink)[line]
            column = np.clip(pixels[index, 0].astype(int), 0, size - 1)
            there = head.points[np.clip(height.astype(int), 0, size - 1), column]
            start[index] += there - head.points[np.clip(pixels[index, 1].astype(int), 0, size - 1), column]
    for number, lid in enumerate(lids):
        iris = range(468 + 5 * number, 473 + 5 * number)
        index = list(iris)
        weight = lid.gaze_weight(pixels[index, 0], pixels[index, 1])
        metres = (size / 512) * head.landmarks_depth(index) / head.camera.fx
        start[index, 0] += face.gaze[0] * weight * metres
        start[index, 1] -= face.gaze[1] * weight * metres
    contact = mouth.contact(start[:, 0])
    is_upper = start[:, 1] > contact
    is_upper[list(UPPER_LIP_POINTS)] = True
    is_upper[list(INNER_LOWER[1:-1])] = False
    above_sheet = build_sheet(start, mouth, head.landmarks, True).displaced(face)
    below_sheet = build_sheet(start, mouth, head.landmarks, False).displaced(face)
    return np.where(is_upper[:, None], above_sheet, below_sheet)
