"""`likeness render`: an avatar bundle and a speech recording -> one MP4.

Head motion, expression and backdrop come from the recorded portrait, forth and back; the mouth comes from the speech.
Knows no jobs and no terminal.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.avatar import Synthesiser
from core.bundle.avatar_member import parse_avatar
from core.bundle.file import AVATAR, Bundle, read_bundle
from core.bundle.portrait import Portrait, open_portrait
from core.clip.speech import SPEECH_FEATURES, encode_speech, reduce_speech, speech_windows
from core.errors import BundleError, UsageError
from core.media.audio import check_speech_level, decode_audio
from core.media.encode import VideoWriter
from core.progress import StageContext
from core.provenance.label import DisclosureLabel
from core.render.background import load_background, replace_background, resize_square
from core.render.driving import FPS, SAMPLE_RATE, fade_to_silence, frame_count, ping_pong, voice_gate
from core.render.streaming import FrameStream
from core.render.synthesis import Frame, Motion, Stopwatch, synthesise

MINIMUM_SIZE, MAXIMUM_SIZE = 64, 2048
STAGE = "render"
_PADDING_STEPS = 50
"""1 s of silence before and after the speech, so that the first and last windows hear silence and not nothing."""
_QUIET_STEPS = slice(10, 40)
"""Steps of the padding far enough from its ends: what silence sounds like to the encoder beside this voice."""
_REPORT_EVERY = 5


@dataclass(frozen=True)
class DrivingSpeech:
    """Speech as the avatar hears it."""

    features: npt.NDArray[np.float32]
    """[n, 64] at 50 Hz, silence faded in where nobody speaks."""
    zero: int
    """Index in `features` of time 0."""
    frames: int
    """Frames that cover the speech."""

    def windows(self, frame: int) -> npt.NDArray[np.float32]:
        """[8, 16, 64] around one frame; frames past the end hear silence."""
        return np.asarray(speech_windows(self.features, self.zero, np.array([frame]))[0], np.float32)


def prepare_speech(samples: npt.NDArray[np.float32]) -> DrivingSpeech:
    """Encode a recording for driving.

    Args:
        samples: [n] float32, 16 kHz mono.
    """
    padding = np.zeros(_PADDING_STEPS * SAMPLE_RATE // 50, np.float32)
    padded = np.concatenate([padding, samples, padding])
    features = reduce_speech(encode_speech(padded))
    silence = np.concatenate([features[_QUIET_STEPS], features[len(features) - _PADDING_STEPS :][_QUIET_STEPS]]).mean(0)
    gate = voice_gate(padded)[: len(features)]
    return DrivingSpeech(fade_to_silence(features, gate, silence), _PADDING_STEPS, frame_count(len(samples)))


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


def render_speech(
    bundle: Path,
    audio: Path,
    output: Path,
    *,
    size: int | None,
    background: str | None,
    label: bool,
    context: StageContext,
) -> dict[str, object]:
    """Render one recording.

    Args:
        bundle: the `.likeness` file.
        audio: speech in any format that `core.media` reads; muxed into the result as it is.
        output: the MP4 to make; appears whole or not at all.
        size: side in pixels, even, 64..2048; None is the avatar's own.
        background: colour or picture in place of the recorded background; None keeps it.
        label: burn the AI-generated mark into every frame.
        context: progress as stage `render`, and cancelling.

    Returns:
        One item of the JSON of `likeness render`: `output`, `frames`, `seconds` (of the video), `fps_model` (frames
        a second inside the synthesiser alone), `fps_total` (frames a second from this call to the muxed file).

    Raises:
        UsageError: `size_unusable`, `file_not_found`, `background_unknown`, `folder_not_found`.
        InputRefusedError: `audio_silent`, `no_audio`, or what `core.media` says of a file that it can't read.
        BundleError: see `read_bundle`.
    """
    begin = time.perf_counter()
    opened = read_bundle(bundle)
    side = _checked_size(size if size is not None else opened.manifest.size)
    synthesiser = open_synthesiser(opened, side)
    chosen = load_background(background, side) if background is not None else None
    samples = decode_audio(audio)
    check_speech_level(samples)
    context.check()
    speech = prepare_speech(samples)
    context.report(STAGE, 0.02)
    stopwatch = Stopwatch()
    mark = DisclosureLabel.for_size(side, side) if label else None
    with tempfile.TemporaryDirectory(prefix="likeness-render-") as scratch:
        portrait = open_portrait(opened, Path(scratch), with_matte=background is not None)
        frames = synthesise(
            synthesiser,
            Motion(portrait.tracks.rotations, portrait.tracks.translations, portrait.tracks.expression),
            ping_pong(speech.frames, portrait.count),
            speech.windows,
            backdrops(portrait, side, chosen),
            stopwatch,
        )
        with VideoWriter(output, side, side, fps=FPS, audio=audio) as writer, FrameStream(writer) as stream:
            for number, frame in enumerate(frames):
                context.check()
                stream.write(mark.burn(frame) if mark is not None else frame)
                if number % _REPORT_EVERY == 0:
                    context.report(STAGE, 0.05 + 0.95 * number / speech.frames)
    context.report(STAGE, 1.0)
    total = time.perf_counter() - begin
    return {
        "output": str(output),
        "frames": stopwatch.frames,
        "seconds": stopwatch.frames / FPS,
        "fps_model": round(stopwatch.fps or 0.0, 2),
        "fps_total": round(stopwatch.frames / total, 2),
    }


def open_synthesiser(bundle: Bundle, size: int) -> Synthesiser:
    """The bundle's avatar, seen at `size`.

    Raises:
        BundleError: `bundle_speech_unknown` where it was made for other speech features than this version's.
    """
    speech = bundle.manifest.speech
    if speech.name != SPEECH_FEATURES:
        raise BundleError(
            "bundle_speech_unknown",
            f"The avatar hears {speech.name} features, which this Likeness does not make.",
            "Make the bundle again with this version.",
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
