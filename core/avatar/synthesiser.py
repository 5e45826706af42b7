"""One avatar ready to speak: a frame from speech, expression and pose, composited over the recorded backdrop.

The fast path: still features of both fields are computed once; only the boxes that the branches cover are drawn.
It must not know where speech and backdrops come from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.avatar.avatar import Avatar
from core.avatar.drawing import dilate, draw, world_to_camera
from core.avatar.gaussians import Gaussians
from core.avatar.motion import Motion, face_mouth_hook, hook_extremes
from core.camera import Camera

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class Synthesiser:
    """Renders frames of one avatar with one camera. Not thread-safe: one a thread."""

    def __init__(self, avatar: Avatar, camera: Camera) -> None:
        """`camera` is the portrait's, square; its size is the output's."""
        self.avatar = avatar
        self.camera = camera
        with torch.no_grad():
            self._face_features = avatar.face_field.features(avatar.face.means)
            self._mouth_features = avatar.mouth_field.features(avatar.mouth.means)
        self._face_reach = 3 * float(avatar.face.sigma().amax())
        self._mouth_reach = 3 * float(avatar.mouth.sigma().amax())

    @torch.no_grad()
    def motions(self, windows: Tensor, expression: Tensor) -> tuple[Motion, Motion]:
        """Motion of the face and of the mouth branch for one frame's speech windows [8, 16, 64] and expression [6]."""
        avatar = self.avatar
        face = avatar.face_field.move(self._face_features, *avatar.face_field.condition(windows, expression))
        hook = face_mouth_hook(*hook_extremes(face, 10))
        speech = avatar.mouth_field.speech(windows[None])[0]
        return face, avatar.mouth_field.move(self._mouth_features, speech, hook)

    @torch.no_grad()
    def frame(
        self,
        windows: Tensor,
        expression: Tensor,
        rotation: npt.NDArray[np.floating],
        translation: npt.NDArray[np.floating],
        backdrop: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.uint8]:
        """One picture.

        Args:
            windows: [8, 16, 64] reduced speech around the frame.
            expression: [6] upper face, 0..1.
            rotation: [3, 3] head space -> camera space.
            translation: [3] metres.
            backdrop: [S, S, 3] recorded torso over the background plate.

        Returns:
            [S, S, 3] sRGB.
        """
        avatar, size = self.avatar, self.camera.width
        pose = world_to_camera(torch.as_tensor(rotation), torch.as_tensor(translation))
        face_motion, mouth_motion = self.motions(windows, expression)
        left, top, right, bottom = covered_box(avatar.face, face_motion, pose, self.camera, self._face_reach)
        picture = backdrop.copy()
        if right <= left or bottom <= top:
            return picture
        view = self.camera.cropped(left, top, right - left, bottom - top)
        face = draw(avatar.face, face_motion, pose, view, None)
        behind = torch.from_numpy(np.ascontiguousarray(backdrop[top:bottom, left:right])).permute(2, 0, 1)
        image = behind.to(torch.float32).div_(255)
        pad = 8 * size // 512
        x0, y0, x1, y1 = covered_box(avatar.mouth, mouth_motion, pose, self.camera, self._mouth_reach, pad)
        x0, y0, x1, y1 = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)
        if x1 > x0 and y1 > y0:
            mouth = draw(avatar.mouth, mouth_motion, pose, self.camera.cropped(x0, y0, x1 - x0, y1 - y0), None)
            part = image[:, y0 - top : y1 - top, x0 - left : x1 - left]
            part.mul_(1 - dilate(mouth.alpha, size)).add_(mouth.image)
        image.mul_(1 - face.alpha).add_(face.image).clamp_(0, 1).mul_(255).add_(0.5)
        picture[top:bottom, left:right] = image.to(torch.uint8).permute(1, 2, 0).numpy()
        return picture


def covered_box(gaussians: Gaussians, motion: Motion, pose: Tensor, camera: Camera, reach: float, pad: int = 0) -> Box:
    """The smallest box (grown to multiples of 16, within the frame) that holds every Gaussian's `reach` metres."""
    points = (gaussians.means + motion.translation) @ pose[:3, :3].t() + pose[:3, 3]
    depth = points[:, 2].clamp(min=0.05)
    x = camera.fx * points[:, 0] / depth + camera.cx
    y = camera.fy * points[:, 1] / depth + camera.cy
    bounds = torch.stack([x.amin(), y.amin(), x.amax(), y.amax()]).tolist()
    margin = min(camera.fx * reach / float(depth.amin()), camera.width / 16) + pad + 1
    left = max(0, int(bounds[0] - margin) // 16 * 16)
    top = max(0, int(bounds[1] - margin) // 16 * 16)
    right = min(camera.width, -(-int(bounds[2] + margin) // 16) * 16)
    bottom = min(camera.height, -(-int(bounds[3] + margin) // 16) * 16)
    return left, top, right, bottom
