"""One avatar, its portrait and the caller's choices, opened once: any stretch of a speech's frames can be had from it.

Each frame depends on the speech, the portrait and its own number alone, so stretches made by different workers fit.
Knows no encoder and no sound file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.avatar import Synthesiser
from core.bundle.avatar_member import parse_avatar
from core.bundle.file import AVATAR, Bundle, read_bundle
from core.bundle.portrait import Portrait, open_portrait
from core.clip.speech import speech_encoder
from core.errors import BundleError, UsageError
from core.provenance.label import DisclosureLabel
from core.render.background import load_background, replace_background, resize_square
from core.render.driving import ping_pong
from core.render.hearing import DrivingSpeech
from core.render.synthesis import Frame, Motion, Stopwatch, synthesise

MINIMUM_SIZE, MAXIMUM_SIZE = 64, 2048


@dataclass(frozen=True)
class Look:
    """What a caller chooses about the picture."""

    size: int | None = None
    """Side in pixels, even, 64..2048; None is the avatar's own."""
    background: str | None = None
    """Colour or picture in place of the recorded background; None keeps it."""
    label: bool = True
    """Burn the AI-generated mark into every frame."""


@dataclass(frozen=True)
class Scene:
    """What frames are made from."""

    side: int
    """Of the square picture, pixels."""
    synthesiser: Synthesiser
    portrait: Portrait
    chosen: Frame | None
    mark: DisclosureLabel | None

    def frames(self, speech: DrivingSpeech, first: int, last: int, stopwatch: Stopwatch) -> Iterator[Frame]:
        """Frames `first` <= f < `last` of the speech, [S, S, 3] sRGB, labelled."""
        tracks, rest = self.portrait.tracks, self.synthesiser.rest
        made = synthesise(
            self.synthesiser,
            Motion(tracks.rotations, tracks.translations, tracks.expression),
            ping_pong(last, self.portrait.count)[first:],
            lambda number: speech.windows(first + number, rest),
            backdrops(self.portrait, self.side, self.chosen),
            stopwatch,
        )
        for frame in made:
            yield self.mark.burn(frame) if self.mark is not None else frame


@contextmanager
def open_scene(bundle: Path, look: Look) -> Iterator[Scene]:
    """Open a bundle for rendering; the decoded portrait lies in a scratch folder for as long.

    Raises:
        UsageError: `size_unusable`, `file_not_found`, `background_unknown`.
        InputRefusedError: `image_refused`.
        BundleError: see `read_bundle`.
    """
    opened, side, chosen = check_look(bundle, look)
    with tempfile.TemporaryDirectory(prefix="likeness-render-") as scratch:
        yield Scene(
            side,
            open_synthesiser(opened, side),
            open_portrait(opened, Path(scratch), with_matte=chosen is not None),
            chosen,
            DisclosureLabel.for_size(side, side) if look.label else None,
        )


def check_look(bundle: Path, look: Look) -> tuple[Bundle, int, Frame | None]:
    """The checked bundle, the side of the picture, and the chosen background. Raises as `open_scene`."""
    opened = read_bundle(bundle)
    side = _checked_size(look.size if look.size is not None else opened.manifest.size)
    return opened, side, load_background(look.background, side) if look.background is not None else None


def backdrops(portrait: Portrait, size: int, chosen: Frame | None) -> Callable[[int], Frame]:
    """Recorded frame number -> the backdrop at `size`, before the `chosen` background [size, size, 3] where one is."""
    if chosen is None:
        return lambda index: resize_square(np.asarray(portrait.backdrops[index]), size)
    mattes = portrait.mattes
    if mattes is None:
        raise ValueError("replacing the background needs the portrait's mattes")
    return lambda index: replace_background(
        resize_square(np.asarray(portrait.backdrops[index]), size),
        resize_square(np.asarray(mattes[index]), size),
        chosen,
    )


def open_synthesiser(bundle: Bundle, size: int) -> Synthesiser:
    """The bundle's avatar, seen at `size`.

    Raises:
        BundleError: `bundle_speech_unknown` where it was made for other speech features than those in use.
    """
    speech = bundle.manifest.speech
    heard = speech_encoder().name
    if speech.name != heard:
        raise BundleError(
            "bundle_speech_unknown",
            f"The avatar hears {speech.name} features; the ones in use are {heard}.",
            "Set LIKENESS_SPEECH_FEATURES to its own, or make the bundle again.",
        )
    avatar = parse_avatar(bundle.read(AVATAR))
    return Synthesiser(avatar, bundle.manifest.camera.scaled(size / bundle.manifest.size))


def _checked_size(size: int) -> int:
    if size % 2 or not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
        raise UsageError(
            "size_unusable",
            f"A video of {size} pixels can't be made.",
            f"Choose an even size between {MINIMUM_SIZE} and {MAXIMUM_SIZE}.",
        )
    return size
