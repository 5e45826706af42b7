"""One frame: the portrait's layers under a pose and an expression. Knows neither time nor sound.

Every layer is a smooth sheet, so a frame is an inverse warp: the forward displacement of each portrait pixel is
computed exactly (3D point, expression, pose, camera) and inverted by fixed-point iteration, which converges because
displacements are smooth and small. The face is two such sheets that part at the lips; teeth, tongue and cavity show
between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from core.clip.layout import Label
from core.sample.expression import (
    INNER_UPPER,
    Face,
    Lid,
    MouthLine,
    build_lids,
    build_sheet,
    moved_landmarks,
)
from core.sample.geometry import Head, project
from core.sample.portrait import Portrait

Float = npt.NDArray[np.floating]
Image = npt.NDArray[np.float32]

STEPS = 5
"""Fixed-point iterations; the residual is below 0.05 px at 10 degrees of yaw."""
TEETH_BEHIND_LIPS = 0.004
NECK_BEHIND_CHIN = 0.05
"""Metres, both."""
UPPER_LIP, LOWER_LIP, CHIN = 13, 14, 152
CAVITY = np.array([0.17, 0.06, 0.055], np.float32)
TONGUE = np.array([0.50, 0.24, 0.22], np.float32)
"""sRGB in full light."""
TEETH_SHADE = np.array([0.75, 1.0, 1.15], np.float32)
"""Exponents: shadow on teeth is warm, for it comes through the lips."""


@dataclass(frozen=True)
class Pose:
    """Head pose and body sway of one frame."""

    rotation: Float
    """[3, 3] head space -> camera space."""
    translation: Float
    """[3] metres."""
    sway: tuple[float, float]
    """Shift of the shoulders in pixels of a 512-pixel picture."""


@dataclass(frozen=True)
class Frame:
    """A rendered frame and what is true of it."""

    picture: Image
    """[S, S, 3] sRGB 0..1, without grain."""
    labels: npt.NDArray[np.uint8]
    """[S, S] values of `Label`."""
    landmarks: Float
    """[478, 2] pixels."""
    points: Float
    """[478, 3] metres, in head space."""


@dataclass(frozen=True)
class Patch:
    """A regular grid of the portrait's pixels with their points in head space."""

    points: Image
    """[h, w, 3] metres."""
    pixels: Image
    """[h, w, 2] where the portrait shows them."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels that a sheet is evaluated in."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, size: int) -> Box:
        """The box with a margin, inside a picture of `size`."""
        return Box(
            max(0, self.left - margin),
            max(0, self.top - margin),
            min(size, self.right + margin),
            min(size, self.bottom + margin),
        )


def _sample(image: npt.NDArray[np.float32], at: Image, cubic: bool = False) -> Image:
    """Values of an image at pixel coordinates [h, w, 2] (centres at +0.5)."""
    return _lookup(image, at - np.float32(0.5), cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR)


def _inverse(shift: Image, pixels: Image, box: Box, steps: int = STEPS) -> Image:
    """Source position [h, w, 2] of every pixel of `box`.

    Args:
        shift: [n, m, 2] displacement, portrait to picture, of a regular grid of portrait pixels.
        pixels: [n, m, 2] the grid.
        box: output pixels.
    """
    width, height = box.right - box.left, box.bottom - box.top
    step = pixels[0, 1, 0] - pixels[0, 0, 0]

    def towards(target: Image, source: Image) -> Image:
        return np.asarray(target - _lookup(shift, (source - pixels[0, 0]) / step), np.float32)

    # Most steps run on every second pixel: what they leave over, the last one at full resolution removes.
    coarse = source = _pixel_centres(box, width // 2, height // 2)
    for _ in range(steps - 1):
        source = towards(coarse, source)
    fine = _pixel_centres(box, width, height)
    source = fine + np.asarray(cv2.resize(source - coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return towards(fine, source)


def _pixel_centres(box: Box, columns: int, rows: int) -> Image:
    """[rows, columns, 2] centres of the cells of a box cut into rows and columns."""
    x = box.left + (np.arange(columns, dtype=np.float32) + 0.5) * ((box.right - box.left) / columns)
    y = box.top + (np.arange(rows, dtype=np.float32) + 0.5) * ((box.bottom - box.top) / rows)
    return np.stack(np.meshgrid(x, y), -1)


def _lookup(image: Image, place: Image, how: int = cv2.INTER_LINEAR) -> Image:
    """Values at array coordinates [h, w, 2] (x, y)."""
    x, y = np.ascontiguousarray(place[..., 0]), np.ascontiguousarray(place[..., 1])
    return np.asarray(cv2.remap(image, x, y, how, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _edge(signed: npt.NDArray[np.floating], softness: float) -> Image:
    """0..1 across a border at signed distance 0 (positive inside), `softness` pixels wide."""
    return np.asarray(np.clip(0.5 + signed / softness, 0, 1), np.float32)


class Renderer:
    """The portrait prepared for rendering at one size."""

    def __init__(self, portrait: Portrait, head: Head, regions: npt.NDArray[np.uint8]) -> None:
        self.portrait = portrait
        self.head = head
        self.regions = regions
        self.size = int(portrait.image.shape[0])
        self.scale = self.size / 512
        self.pixels = portrait.landmarks[:, :2]
        self.mouth = MouthLine.of(head.landmarks)
        self.lids = build_lids(self.pixels)
        self.stride = 2 if self.size > 300 else 1
        k = self.scale
        x, y = self.pixels[[UPPER_LIP, LOWER_LIP]].mean(0)
        self.whole = Box(0, 0, self.size, self.size)
        self.lower_box = self._box(x - 120 * k, y - 60 * k, x + 120 * k, y + 140 * k)
        self.mouth_box = self._box(x - 72 * k, y - 50 * k, x + 72 * k, y + 75 * k)
        self.torso_box = self._box(0, 235 * k, self.size, self.size)
        margin = round(24 * k)
        self.upper_patch = self._patch(self.whole)
        self.lower_patch = self._patch(self.lower_box.grown(margin, self.size))
        self.torso_patch = self._patch(self.torso_box.grown(margin, self.size))
        self.upper_sheet = build_sheet(self.upper_patch.points, self.mouth, head.landmarks, upper=True)
        self.lower_sheet = build_sheet(self.lower_patch.points, self.mouth, head.landmarks, upper=False)
        teeth = self._patch(self.mouth_box.grown(margin, self.size))
        seen = teeth.points @ head.rotation.T + head.translation
        behind = (seen * (1 + TEETH_BEHIND_LIPS / seen[..., 2:]) - head.translation) @ head.rotation
        self.teeth_patch = Patch(behind.astype(np.float32), teeth.pixels)

    def _patch(self, box: Box) -> Patch:
        """The head's points over a box, every `stride` pixels, starting at its corner."""
        s = self.stride
        rows, columns = np.s_[box.top : box.bottom], np.s_[box.left : box.right]
        dense = np.ascontiguousarray(self.head.points[rows, columns], np.float32)
        height, width = dense.shape[0] // s, dense.shape[1] // s
        points = dense[: height * s, : width * s].reshape(height, s, width, s, 3).mean((1, 3))
        x, y = np.meshgrid(box.left + (np.arange(width) + 0.5) * s, box.top + (np.arange(height) + 0.5) * s)
        return Patch(points.astype(np.float32), np.stack([x, y], -1).astype(np.float32))

    def _box(self, left: float, top: float, right: float, bottom: float) -> Box:
        return Box(max(0, int(left)), max(0, int(top)), min(self.size, int(right)), min(self.size, int(bottom)))

    @cached_property
    def _mouth_curves(self) -> tuple[Image, Image, float, float]:
        """[S] heights in pixels of the inner upper and lower lip line for every column; the corners' columns."""
        x = np.arange(self.size) + 0.5
        left, right = float(self.pixels[INNER_UPPER[0], 0]), float(self.pixels[INNER_UPPER[-1], 0])
        inside = np.clip(x, left, right)
        line = MouthLine.of(np.column_stack([self.pixels[:, 0], self.pixels[:, 1], np.zeros(len(self.pixels))]))
        high, deep = line.curves(inside)
        return high.astype(np.float32), deep.astype(np.float32), left, right

    @cached_property
    def _lip_textures(self) -> tuple[Image, Image]:
        """The head's colours with the mouth's inside replaced by upper, and by lower lip colour."""
        high, deep, left, right = self._mouth_curves
        image, inset = self.portrait.image, 1.5 * self.scale
        rows = np.arange(self.size)[:, None] + 0.5
        columns = np.repeat(np.arange(self.size)[None, :] + 0.5, self.size, 0)
        open_here = (columns > left) & (columns < right)
        textures = []
        for limit, keep in ((high - inset, np.minimum), (deep + inset, np.maximum)):
            source = np.where(open_here, keep(rows, limit[None, :]), rows)
            at = np.stack([columns, source], -1).astype(np.float32)
            filled = _sample(image, at)
            soft = cv2.GaussianBlur(filled, (0, 0), 1.5 * self.scale)
            hole = ((rows > high - inset) & (rows < deep + inset) & open_here)[..., None]
            textures.append(np.where(hole, soft, image).astype(np.float32))
        return textures[0], textures[1]

    def _at(self, curve: Image, x: Image) -> Image:
        """Height of one of the lip lines at columns x."""
        return np.asarray(np.interp(x, np.arange(self.size) + 0.5, curve), np.float32)

    def _shift(self, points: Float, patch: Patch, pose: Pose) -> Image:
        moved = project(points, pose.rotation, pose.translation, self.head.camera)
        return np.asarray(moved - patch.pixels, np.float32)

    def _source(self, points: Float, patch: Patch, pose: Pose, box: Box, steps: int = STEPS) -> Image:
        """Portrait position [h, w, 2] of each pixel of `box`, for moved head-space points of a patch."""
        return _inverse(self._shift(points, patch, pose), patch.pixels, box, steps)

    def _with_eyes(self, texture: Image, colours: Image, source: Image, face: Face) -> Image:
        """Turn the irises and draw the lids over them; `source` [S, S, 2] are portrait positions of the pixels."""
        for lid in self.lids:
            middle = float(lid.upper((lid.left + lid.right) / 2))
            inside = (source[..., 0] > lid.left) & (source[..., 0] < lid.right)
            inside &= np.abs(source[..., 1] - middle) < 2.2 * lid.top
            rows, columns = np.nonzero(inside)
            if rows.size == 0:
                continue
            window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            colours[window] = self._eye_colours(lid, texture, source[window], face)
        return colours

    def _eye_colours(self, lid: Lid, texture: Image, source: Image, face: Face) -> Image:
        x, y = source[..., 0].astype(np.float64), source[..., 1].astype(np.float64)
        up, low, _, _ = lid.lines(x, face.blink)
        above = lid.source_of_upper(x, y, face.blink)
        below = lid.source_of_lower(x, y, face.blink)
        soft = 1.6 * self.scale
        cover = lid.contains(x).astype(np.float32)
        shift = lid.gaze_weight(x, y)[..., None] * (np.asarray(face.gaze, np.float32) * self.scale)
        drawn = _sample(texture, (source - shift).astype(np.float32), cubic=True)
        outside = (1 - cover)[..., None]
        drawn = drawn * (1 - outside) + _sample(texture, source, cubic=True) * outside
        for height, alpha in (
            (below, _edge(below - low, soft) * (y > up)),
            (above, _edge(up + 0.8 * self.scale - above, soft) * (y < low + 2 * lid.top)),
        ):
            at = np.stack([x, height], -1).astype(np.float32)
            weight = (alpha * cover)[..., None]
            drawn = (drawn * (1 - weight) + _sample(texture, at, cubic=True) * weight).astype(np.float32)
        return np.asarray(drawn, np.float32)

    def _inside(self, teeth: Image, low: Image, hole: Image) -> Image:
        """Colours of the mouth's inside for the mouth box.

        Args:
            teeth: [h, w, 2] portrait positions of the upper teeth, which move with the skull.
            low: [h, w, 2] portrait positions of what moves with the lower lip.
            hole: [h, w] how much of each pixel is open.
        """
        _, deep, left, right = self._mouth_curves
        k = self.scale
        half, middle = (right - left) / 2, (left + right) / 2
        light = cv2.GaussianBlur(hole, (0, 0), 4.0 * k)[..., None]
        colour = CAVITY * (0.5 + 0.7 * light)
        rise = self._at(deep, low[..., 0]) - low[..., 1]
        across = (low[..., 0] - middle) / half
        tongue_top = 7.0 * k * (1 - (across / 0.75) ** 2)
        tongue = _edge(tongue_top - rise, 3.0 * k)[..., None]
        colour = colour * (1 - tongue) + TONGUE * (0.45 + 0.5 * light) * tongue
        own = _edge(self._at(deep, teeth[..., 0]) - 1.3 * k - teeth[..., 1], 1.6 * k)[..., None]
        own = own * _edge(0.97 - np.abs((teeth[..., 0] - middle) / half), 0.08)[..., None]
        bright = np.clip(0.5 + 0.75 * light, 0, 1)
        upper = _sample(self.portrait.image, teeth, cubic=True) * bright**TEETH_SHADE
        return np.asarray(colour * (1 - own) + upper * own, np.float32)

    def _head_layer(self, face: Face, pose: Pose) -> tuple[Image, Image, npt.NDArray[np.uint8]]:
        """Colours [S, S, 3], matte [S, S] and labels of the head alone."""
        high, deep, left, right = self._mouth_curves
        middle, half = (left + right) / 2, (right - left) / 2
        upper_texture, lower_texture = self._lip_textures
        upper = self._source(self.upper_sheet.displaced(face), self.upper_patch, pose, self.whole)
        colours = _sample(upper_texture, upper, cubic=True)
        matte = _sample(self.portrait.head_alpha, upper)
        colours = self._with_eyes(upper_texture, colours, upper, face)
        labels = self._labels_at(upper)

        box = self.lower_box
        lower = self._source(self.lower_sheet.displaced(face), self.lower_patch, pose, box)
        window = box.window
        up_x = upper[window][..., 0]
        soft = 1.4 * self.scale
        above = _edge(self._at(high, up_x) - upper[window][..., 1], soft)
        beyond = _edge(np.abs(up_x - middle) - 1.45 * half, 0.1 * half)
        above = np.maximum(above, beyond)
        below = beyond + (1 - beyond) * _edge(lower[..., 1] - self._at(deep, lower[..., 0]), soft)
        hole = np.clip(1 - above - below, 0, 1)
        skin_low = 1 - above - hole

        lower_matte = _sample(self.portrait.head_alpha, lower)
        lower_colours = _sample(lower_texture, lower, cubic=True)
        mixed = colours[window] * above[..., None] + lower_colours * skin_low[..., None]
        inner = self.mouth_box
        sub = np.s_[inner.top - box.top : inner.bottom - box.top, inner.left - box.left : inner.right - box.left]
        teeth = self._source(self.teeth_patch.points, self.teeth_patch, pose, inner, 3)
        inside = np.zeros_like(mixed)
        inside[sub] = self._inside(teeth, lower[sub], hole[sub])
        # Where the sheets only touch, a thin shadow marks the line between the lips.
        mixed += inside * hole[..., None]
        total = np.clip(above + skin_low + hole, 1e-3, None)[..., None]
        matte[window] = matte[window] * above + lower_matte * skin_low + hole
        colours[window] = mixed / total
        low_labels = self._labels_at(lower)
        part = labels[window]
        part[skin_low > 0.5] = low_labels[skin_low > 0.5]
        part[hole > 0.5] = Label.MOUTH
        return colours, matte, labels

    def _labels_at(self, source: Image) -> npt.NDArray[np.uint8]:
        return np.asarray(
            cv2.remap(self.regions, source[..., 0] - 0.5, source[..., 1] - 0.5, cv2.INTER_NEAREST), np.uint8
        )

    def _torso_layer(self, pose: Pose) -> tuple[Image, Image]:
        """Neck and suit within the torso's box: the neck follows the head, the shoulders sway a little."""
        rigid = self._shift(self._neck[0], self.torso_patch, pose)
        follow = self._neck[1]
        shift = rigid * follow + np.asarray(pose.sway, np.float32) * np.float32(self.scale) * (1 - follow)
        source = _inverse(shift, self.torso_patch.pixels, self.torso_box, 4)
        return _sample(self.portrait.torso, source, cubic=True), _sample(self.portrait.torso_alpha, source)

    @cached_property
    def _neck(self) -> tuple[Image, Image]:
        """Head-space points [h, w, 3] of a sheet behind the chin, and how much [h, w, 1] it follows the head."""
        head, pixels = self.head, self.torso_patch.pixels
        depth = float((head.landmarks[CHIN] @ head.rotation.T + head.translation)[2]) + NECK_BEHIND_CHIN
        x = (pixels[..., 0] - head.camera.cx) / head.camera.fx * depth
        y = (pixels[..., 1] - head.camera.cy) / head.camera.fy * depth
        points = (np.stack([x, y, np.full_like(x, depth)], -1) - head.translation) @ head.rotation
        down = np.clip((392 - pixels[..., 1] / self.scale) / 62, 0, 1)
        aside = np.clip((130 - np.abs(pixels[..., 0] / self.scale - 241)) / 60, 0, 1)
        follow = 0.95 * down * down * (3 - 2 * down) * aside * aside * (3 - 2 * aside)
        return points.astype(np.float32), follow[..., None].astype(np.float32)

    def render(self, face: Face, pose: Pose) -> Frame:
        """The frame of an expression and a pose."""
        torso, torso_alpha = self._torso_layer(pose)
        head, head_alpha, labels = self._head_layer(face, pose)
        window = self.torso_box.window
        torso *= self._contact_shadow(head_alpha)[window][..., None]
        picture = self.portrait.plate.copy()
        picture[window] += (torso - picture[window]) * torso_alpha[..., None]
        picture += (head - picture) * head_alpha[..., None]
        body = np.zeros_like(labels)
        body[window] = np.where(torso_alpha > 0.5, np.uint8(Label.TORSO), np.uint8(Label.BACKGROUND))
        labels = np.where(head_alpha > 0.5, np.where(labels == Label.BACKGROUND, np.uint8(Label.HAIR), labels), body)
        points = self.landmarks_of(face)
        landmarks = project(points, pose.rotation, pose.translation, self.head.camera)
        return Frame(np.clip(picture, 0, 1, out=picture), labels, landmarks, points)

    def landmarks_of(self, face: Face) -> Float:
        """[478, 3] the mesh in head space under an expression, metres."""
        return moved_landmarks(self.head, self.mouth, self.pixels, self.lids, face)

    def _contact_shadow(self, head_alpha: Image) -> Image:
        """The head's soft shadow on the neck, moving with it (the photographed one stays in the neck's texture)."""
        small = cv2.resize(head_alpha, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(small, (0, 0), 2.0 * self.scale)
        down = np.array([[1, 0, 0], [0, 1, 1.5 * self.scale]], np.float32)
        moved = cv2.warpAffine(blurred, down, (small.shape[1], small.shape[0]))
        full = cv2.resize(moved, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(1 - 0.22 * full, np.float32)
