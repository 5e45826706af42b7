"""`preview.mp4` and `preview.png`: the avatar speaking the words that it was learned from. Knows no zip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.avatar import Avatar, Synthesiser
from core.bundle.file import PREVIEW_PICTURE, PREVIEW_VIDEO
from core.clip.layout import FPS, Clip
from core.clip.speech import reduce_speech, speech_windows
from core.media.encode import VideoWriter
from core.media.image import write_png
from core.progress import StageContext
from core.provenance.label import DisclosureLabel

Pictures = npt.NDArray[np.uint8]

LONGEST_FRAMES = 5 * FPS
PREVIEW_CRF = 20


def build_preview(
    avatar: Avatar, clip: Clip, backdrops: Pictures, folder: Path, context: StageContext
) -> dict[str, Path | bytes]:
    """Render the clip's first 5 s with its own speech, and its middle frame as a picture; both carry the label.

    Args:
        avatar: fused.
        clip: the frames it has learned from.
        backdrops: [T, S, S, 3] what stands behind the head in each of them.
        folder: where the files are made.
        context: asked whether to stop.

    Returns:
        The bundle's members: name -> file.
    """
    video, picture = folder / PREVIEW_VIDEO, folder / PREVIEW_PICTURE
    count = min(clip.count, LONGEST_FRAMES)
    mark = DisclosureLabel.for_size(clip.size, clip.size)
    audio = clip.folder / "audio.wav"
    with VideoWriter(
        video, clip.size, clip.size, fps=FPS, crf=PREVIEW_CRF, audio=audio if audio.is_file() else None
    ) as writer:
        for index, frame in enumerate(_frames(avatar, clip, backdrops, count)):
            context.check()
            marked = mark.burn(frame)
            writer.write(marked)
            if index == count // 2:
                write_png(picture, marked)
    return {PREVIEW_VIDEO: video, PREVIEW_PICTURE: picture}


def _frames(avatar: Avatar, clip: Clip, backdrops: Pictures, count: int) -> Iterator[Pictures]:
    synthesiser = Synthesiser(avatar, clip.camera)
    features, lag = reduce_speech(clip.speech, clip.speech_features), clip.reference.lag_frames
    for index in range(count):
        windows = speech_windows(features, clip.speech_zero, np.array([index]), lag)[0]
        yield synthesiser.frame(
            torch.from_numpy(windows),
            torch.from_numpy(np.array(clip.expression[index])),
            clip.rotations[index],
            clip.translations[index],
            np.asarray(backdrops[index]),
        )
