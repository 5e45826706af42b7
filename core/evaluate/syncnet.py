"""SyncNet (Chung and Zisserman, 2016): how well a mouth and a sound belong together, for those who have its weights.

The network of the authors' public release, its parameters named as in the file `syncnet_v2.model`; the weights come in
no package, so a user brings them (docs/models.md). Knows faces and samples of sound, nothing of where they are from.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from core.clip.deepspeech import cepstral_coefficients
from core.errors import MissingModelError

SETTING = "LIKENESS_SYNCNET"
CROP = 224
"""Side of a face in pixels."""
HEARD_FRAMES = 5
"""Frames that the network sees, and the sound beside them, for one answer."""
COEFFICIENTS, STEP_SAMPLES, STEPS_A_FRAME = 13, 160, 4
"""Mel-frequency cepstra: how many, 10 ms apart, so many a frame."""
WIDEST_OFFSET = 15
"""Frames by which sound and picture are moved against each other."""
_EMBEDDING = 1024
_FRAMES_AT_ONCE = 24
_TINY = 1e-6
"""Added to each difference, as torch's pairwise distance does."""


@dataclass(frozen=True)
class Sync:
    """What SyncNet says of one video."""

    confidence: float
    """Median over the offsets of the mean distance, less the least: the field's Sync-C (LSE-C), higher is better."""
    distance: float
    """The least mean distance: the field's Sync-E or Sync-D (LSE-D), lower is better."""
    offset: int
    """Frames by which the sound runs ahead of the picture, where the distance is least; -15..15."""


class SyncNet(nn.Module):
    """Two towers, one for the face and one for the sound, that meet in 1,024 numbers."""

    def __init__(self) -> None:
        """With random weights; `load` reads real ones."""
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1),
            *_block(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_block(nn.Conv2d(192, 384, 3, padding=1)),
            *_block(nn.Conv2d(384, 256, 3, padding=1)),
            *_block(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_block(nn.Conv2d(256, 512, (5, 4))),
        )
        self.netcnnlip = nn.Sequential(
            *_block(nn.Conv3d(3, 96, (HEARD_FRAMES, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud, self.netfclip = _head(), _head()
        self.eval()

    @staticmethod
    def load(path: Path) -> SyncNet:
        """Read published weights: a state dictionary of torch, opened without running what a pickle may run.

        Raises:
            MissingModelError: `own_model_missing`, `own_model_unusable`.
        """
        if not path.is_file():
            raise MissingModelError(
                "own_model_missing", f"There is no file where {SETTING} points.", f"Correct {SETTING}, or unset it."
            )
        network = SyncNet()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
            raise MissingModelError(
                "own_model_unusable",
                f"The file that {SETTING} names does not hold SyncNet's weights.",
                "Bring the state dictionary that docs/models.md describes, or unset the variable.",
            ) from error
        return network

    @torch.inference_mode()
    def see(self, faces: npt.NDArray[np.uint8]) -> Tensor:
        """Faces [T, 224, 224, 3] sRGB -> [T - 4, 1024], one for each five frames in a row."""
        found = []
        for start in range(0, len(faces) - HEARD_FRAMES + 1, _FRAMES_AT_ONCE):
            shown = faces[start : start + _FRAMES_AT_ONCE + HEARD_FRAMES - 1, ..., ::-1]  # it was trained on BGR
            batch = torch.from_numpy(np.ascontiguousarray(shown)).permute(3, 0, 1, 2)[None].float()
            found.append(self.netcnnlip(batch)[0, :, :, 0, 0].t())
        return torch.as_tensor(self.netfclip(torch.cat(found)))

    @torch.inference_mode()
    def hear(self, sound: npt.NDArray[np.float32], frames: int) -> Tensor:
        """[n] samples at 16 kHz, -1..1, from the first frame on -> [frames - 4, 1024]."""
        steps = STEPS_A_FRAME * frames
        cepstra = cepstral_coefficients(sound, steps, STEP_SAMPLES, COEFFICIENTS, centred=False)
        heard = np.lib.stride_tricks.sliding_window_view(cepstra, STEPS_A_FRAME * HEARD_FRAMES, axis=0)[::STEPS_A_FRAME]
        mid = self.netcnnaud(torch.from_numpy(np.ascontiguousarray(heard))[:, None])
        return torch.as_tensor(self.netfcaud(mid.flatten(1)))

    def judge(self, faces: npt.NDArray[np.uint8], sound: npt.NDArray[np.float32]) -> Sync:
        """How well faces [T, 224, 224, 3] and the sound beside them, [n] samples at 16 kHz, belong together.

        As the authors' script has it: the last window is left out, and where an offset leaves the sound its numbers are
        zeros. T is at least 6.
        """
        return best_offset(self.see(faces)[:-1], self.hear(sound, len(faces))[:-1])


def best_offset(seen: Tensor, heard: Tensor) -> Sync:
    """Compare embeddings [n, D] of pictures and sounds at all offsets."""
    around = nn.functional.pad(heard, (0, 0, WIDEST_OFFSET, WIDEST_OFFSET))
    shifts = range(2 * WIDEST_OFFSET + 1)
    distances = torch.stack([(seen - around[k : k + len(seen)] + _TINY).norm(dim=1).mean() for k in shifts])
    best = int(distances.argmin())
    least = float(distances[best])
    return Sync(float(distances.median()) - least, least, WIDEST_OFFSET - best)


def _block(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, ...]:
    flat = isinstance(convolution, nn.Conv2d)
    channels = convolution.out_channels
    return convolution, nn.BatchNorm2d(channels) if flat else nn.BatchNorm3d(channels), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, _EMBEDDING))
