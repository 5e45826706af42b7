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
from core.avatar.drawing import dilation_window, world_to_camera
from core.avatar.gaussians import Gaussians
from core.avatar.motion import HOOK_RANK, Motion, face_mouth_hook, hook_extremes, hook_rows
from core.avatar.still import StillDrawing, StillFace, StillMouth
from core.avatar.still_speech import StillSpeech
from core.camera import Camera
from core.splat import Layer, bounds, composite

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class Synthesiser:
    """Renders frames of one avatar with one camera; several threads may share it."""

    def __init__(self, avatar: Avatar, camera: Camera) -> None:
        """`camera` is the portrait's, square; its size is the output's."""
        self.avatar = avatar
        self.camera = camera
        self._speech = StillSpeech([avatar.face_field.speech, avatar.mouth_field.speech])
        self._face = StillFace(avatar.face_field, avatar.face.means[: avatar.moving])
        self._hook_rows = hook_rows(avatar.face.means[: avatar.moving])
        self._mouth = StillMouth(avatar.mouth_field, avatar.mouth.means)
        self._face_drawing, self._mouth_drawing = StillDrawing(avatar.face), StillDrawing(avatar.mouth)

    @property
    def rest(self) -> npt.NDArray[np.float32] | None:
        """[8, 16, 64] what the avatar hears in silence; None: silence as it sounds."""
        return None if self.avatar.rest is None else self.avatar.rest.numpy()

    def motions(self, windows: Tensor, expression: Tensor) -> tuple[Motion, Motion]:
        """Motion of the face and of the mouth branch for one frame's speech windows [8, 16, 64] and expression [6]."""
        face_speech, mouth_speech = self._speech.codes(windows)
        face = self._face.move(face_speech, expression)
        mouth = self._mouth.move(mouth_speech, face_mouth_hook(*hook_extremes(face, self._hook_rows, HOOK_RANK)))
        return face.padded(self.avatar.face.count), mouth

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
        box = covered_box(avatar.face, face_motion, pose, self.camera, self._face_drawing.reach)
        face = self._layer(self._face_drawing, face_motion, pose, box)
        if face is None:
            return backdrop.copy()
        mouth = self._mouth_layer(mouth_motion, pose, box) if avatar.mouth.count else None
        recorded = torch.from_numpy(np.ascontiguousarray(backdrop))
        return composite(face, mouth, dilation_window(size), recorded).numpy()

    def _mouth_layer(self, motion: Motion, pose: Tensor, face: Box) -> Layer | None:
        """The mouth's interior, inside the face's box."""
        pad = 8 * self.camera.width // 512
        box = covered_box(self.avatar.mouth, motion, pose, self.camera, self._mouth_drawing.reach, pad)
        inside = (max(box[0], face[0]), max(box[1], face[1]), min(box[2], face[2]), min(box[3], face[3]))
        return self._layer(self._mouth_drawing, motion, pose, inside)

    def _layer(self, drawing: StillDrawing, motion: Motion, pose: Tensor, box: Box) -> Layer | None:
        left, top, right, bottom = box
        if right <= left or bottom <= top:
            return None
        drawn = drawing.draw(motion, pose, self.camera.cropped(left, top, right - left, bottom - top))
        return Layer(drawn.image, drawn.alpha, left, top)


def covered_box(gaussians: Gaussians, motion: Motion, pose: Tensor, camera: Camera, reach: float, pad: int = 0) -> Box:
    """The smallest box (grown to multiples of 16, within the frame) that holds every Gaussian's `reach` metres."""
    covered = bounds(gaussians.means + motion.translation, pose, camera)
    margin = min(camera.fx * reach / covered.depth, camera.width / 16) + pad + 1
    left = max(0, int(covered.left - margin) // 16 * 16)
    top = max(0, int(covered.top - margin) // 16 * 16)
    right = min(camera.width, -(-int(covered.right + margin) // 16) * 16)
    bottom = min(camera.height, -(-int(covered.bottom + margin) // 16) * 16)
    return left, top, right, bottom
