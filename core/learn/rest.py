"""What silence sounds like to an avatar: the moment of its own recording at which it shuts its mouth.

Speech features of silence leave a field's mouth half open, at the middle of what it has heard; how shut this person's
lips can be, only this person's own speech says. Knows the face's field and no pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from core.avatar import FaceField
from core.clip.canonical import canonical_face
from core.clip.landmarks import LIP_PAIRS
from core.learn.training_set import TrainingSet

STEADY_FRAMES = 3
"""The mouth has to be shut for so long: a single window may be a slip."""


@torch.no_grad()
def closed_windows(field: FaceField, data: TrainingSet) -> Tensor:
    """The training frame's speech windows [8, 16, 64] at which `field` brings the inner lips nearest to each other."""
    lips = torch.from_numpy(canonical_face().vertices[[point for pair in LIP_PAIRS for point in pair]]).float()
    features, expression = field.features(lips), data.expression.mean(0)
    gaps = []
    for index in range(data.count):
        motion = field.move(features, *field.condition(data.windows[index], expression)).translation
        gaps.append(float((motion[0::2, 1] - motion[1::2, 1]).mean()))
    steady = uniform_filter1d(np.array(gaps), min(STEADY_FRAMES, len(gaps)), mode="nearest")
    return data.windows[int(steady.argmin())].clone()
