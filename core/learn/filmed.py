"""A corpus as pictures: every clip prepared once as for an adaptation, kept on disk, and read crop by crop.

Of a frame only numbers stay in memory (pose, expression, boxes: less than a kilobyte); pictures, labels and speech are
read when they are asked for. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.clip.build import build_clip
from core.clip.intake import ClipOptions
from core.clip.layout import WORKING_SIDE, Clip
from core.errors import InputRefusedError
from core.learn.corpus import Corpus
from core.learn.motion_track import MotionTrack
from core.learn.training_set import TrainingSet, described
from core.progress import StageContext

STAGE = "pictures"


@dataclass(frozen=True)
class Filmed:
    """One clip with its pictures."""

    name: str
    identity: str
    folder: Path
    """The Clip's."""
    data: TrainingSet
    """Of its learnable frames; pictures stay on disk."""


class OnDisk:
    """Rows of a `.npy` file of pictures, mapped only while one is read.

    A map that stays open counts every page that was ever touched as this process's memory; one that is closed after
    each read, only the crop that was cut out.
    """

    def __init__(self, path: Path, rows: npt.NDArray[np.int64]) -> None:
        """Row i of this is row `rows[i]` of the file, which holds bytes."""
        self._path, self._rows = path, rows
        whole = np.load(path, mmap_mode="r", allow_pickle=False)
        self._offset, self._shape = whole.offset, whole.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: int | tuple[int, slice, slice], /) -> npt.NDArray[np.uint8]:
        """A picture, or a box of one: a fresh array."""
        index, *box = key if isinstance(key, tuple) else (key,)
        pictures = np.memmap(self._path, np.uint8, "r", self._offset, self._shape)
        return np.array(pictures[(self._rows[index], *box)])


class Heard:
    """Speech windows of a track's frames, cut out when they are asked for."""

    def __init__(self, track: MotionTrack, rows: npt.NDArray[np.int64]) -> None:
        """Windows i of this are those of frame `rows[i]` of the track."""
        self._track, self._rows = track, rows

    def __getitem__(self, key: int, /) -> Tensor:
        """[8, 16, 64]"""
        return self._track.heard(self._rows[key : key + 1])[0]


def open_filmed(name: str, folder: Path, track: MotionTrack) -> Filmed:
    """A prepared clip.

    Args:
        name: of the clip.
        folder: the Clip's.
        track: of the same clip; the speech is read from it.
    """
    clip = Clip.load(folder)
    keep = np.nonzero(clip.valid)[0]
    frames, labels = (OnDisk(folder / f"{kind}.npy", keep) for kind in ("frames", "labels"))
    return Filmed(name, track.identity, folder, described(clip, keep, frames, labels, Heard(track, keep)))


def prepare_pictures(corpus: Corpus, folder: Path, context: StageContext) -> dict[str, str]:
    """Prepare all clips of a corpus under `folder`, each in a Clip folder of its name; what is there already stays.

    Args:
        corpus: tracked.
        folder: about 1 MB a frame.
        context: progress as stage `pictures`, cancel.

    Returns:
        Code of the refusal by clip name: parsing asks more of a clip than tracking does.

    Raises:
        InputRefusedError: `corpus_refused`: none of them can be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refused = {}
    for number, clip in enumerate(corpus.clips):
        context.report(STAGE, number / len(corpus.clips))
        context.check()
        code = folder / f"{clip.name}.refused"
        if not code.exists() and not (folder / clip.name / "clip.json").exists():
            options = ClipOptions(size=WORKING_SIDE, seconds=None)
            try:
                build_clip(clip.video, folder / clip.name, options, StageContext(is_cancelled=context.is_cancelled))
            except InputRefusedError as error:
                code.write_text(error.code)
        if code.exists():
            refused[clip.name] = code.read_text()
    if len(refused) == len(corpus.clips):
        raise InputRefusedError(
            "corpus_refused",
            f"None of {len(refused)} clips will do as pictures: {', '.join(sorted(set(refused.values())))}.",
            "Check them one by one with `likeness inspect`, or leave the photometric stages out.",
        )
    context.report(STAGE, 1.0)
    return refused


def filmed_corpus(corpus: Corpus, folder: Path, identities: list[str]) -> list[Filmed]:
    """The prepared clips of some people, in the corpus's order."""
    return [
        open_filmed(clip.name, folder / clip.name, clip.track)
        for clip in corpus.clips
        if clip.track.identity in identities and (folder / clip.name / "clip.json").exists()
    ]
