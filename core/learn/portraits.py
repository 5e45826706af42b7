"""What a pre-training has made of everyone: a learned clip beside the recorded frame, one picture a clip.

Pictures of real people: they go into a run's folder and nowhere else. Learns nothing.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from core.avatar import face_mouth_hook, hook_extremes, hook_rows
from core.avatar.drawing import compose, draw
from core.clip.backdrop import backdrop
from core.learn.photometric import Portrayed


@torch.no_grad()
def portrait(learned: Portrayed) -> npt.NDArray[np.uint8]:
    """[h, 2 w, 3] sRGB: the head in the frame with the widest open mouth, recorded and drawn."""
    data = learned.filmed.data
    index = int(np.argmax(data.opening))
    box = left, top, right, bottom = data.head_boxes[index]
    view, pose, windows = data.view(box), data.poses[index], data.windows[index]
    face = learned.face_field(learned.face.means, windows, data.expression[index])
    hook = face_mouth_hook(*hook_extremes(face, hook_rows(learned.face.means)))
    mouth = learned.mouth_field(learned.mouth.means, windows, hook)
    frame, labels = data.frames[index], data.labels[index]
    plate = np.load(learned.filmed.folder / "plate.npy", allow_pickle=False)
    behind = np.ascontiguousarray(backdrop(frame, labels, plate)[top:bottom, left:right])
    drawn = compose(
        draw(learned.face, face, pose, view, None),
        draw(learned.mouth, mouth, pose, view, None),
        torch.from_numpy(behind).permute(2, 0, 1) / 255,
        data.size,
    )
    made = (drawn.clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.concatenate([frame[top:bottom, left:right], made], axis=1)


def write_portraits(portraits: list[Portrayed], folder: Path) -> None:
    """`folder/NAME.png` for every clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for learned in portraits:
        cv2.imwrite(str(folder / f"{learned.filmed.name}.png"), cv2.cvtColor(portrait(learned), cv2.COLOR_RGB2BGR))
