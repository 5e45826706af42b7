"""A render in three steps that may run on different machines: listen, make the pictures in segments, join them.

The segments' borders depend on the speech and the length asked for, never on who makes them, and the pictures are
those of `render_speech`: neither the frames nor their encoding remember what came before a border.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError
from core.media.encode import GROUP_FRAMES, VideoWriter
from core.media.join import join_films
from core.progress import StageContext
from core.render.driving import FPS
from core.render.hearing import DrivingSpeech, hear
from core.render.scene import Look, check_look, open_scene
from core.render.streaming import FrameStream
from core.render.synthesis import Stopwatch

_REPORT_EVERY = 5


@dataclass(frozen=True)
class Measured:
    """What making some frames took."""

    frames: int
    model_seconds: float
    """Inside the synthesiser alone."""
    seconds: float
    """From opening the bundle to the encoded file."""


def segment_borders(frames: int, segment_seconds: float) -> list[int]:
    """Where segments begin, and the end: [0, ..., frames]. Each begins at a key frame of the encoded film.

    Args:
        frames: of the whole speech, at least 1.
        segment_seconds: length of a segment; rounded to whole groups of `GROUP_FRAMES`.
    """
    groups = max(1, round(segment_seconds * FPS / GROUP_FRAMES))
    return [*range(0, frames, groups * GROUP_FRAMES), frames]


def listen(bundle: Path, audio: Path, speech: Path, look: Look, context: StageContext) -> int:
    """Step 1: refuse what can't be rendered, and write `speech`, which every segment needs. Returns the frames.

    Raises:
        As `core.render.render_speech`.
    """
    check_look(bundle, look)
    context.check()
    heard = hear(audio)
    heard.save(speech)
    return heard.frames


def synthesise_segment(
    bundle: Path, speech: Path, film: Path, first: int, last: int, look: Look, context: StageContext
) -> Measured:
    """Step 2: frames `first` <= f < `last` as a silent film.

    Args:
        bundle: the avatar.
        speech: what `listen` wrote.
        film: the MP4 to make; appears whole or not at all.
        first: a border of `segment_borders`.
        last: the next one.
        look: the same in all segments.
        context: progress as stage `synthesise`, and cancelling.
    """
    heard = DrivingSpeech.load(speech)
    if not 0 <= first < last <= heard.frames:
        raise UsageError("no_frames", "The segment is empty.", "Make the segments from the borders.")
    begin, stopwatch = time.perf_counter(), Stopwatch()
    with open_scene(bundle, look) as scene:
        writer = VideoWriter(film, scene.side, scene.side, fps=FPS, joinable=True)
        with writer, FrameStream(writer) as stream:
            for number, frame in enumerate(scene.frames(heard, first, last, stopwatch)):
                context.check()
                stream.write(frame)
                if number % _REPORT_EVERY == 0:
                    context.report("synthesise", number / (last - first))
    return Measured(stopwatch.frames, stopwatch.seconds, time.perf_counter() - begin)


def join_segments(films: Sequence[Path], measured: Sequence[Measured], audio: Path, output: Path) -> dict[str, object]:
    """Step 3: one MP4. Returns what `render_speech` does, but for `output`; frames a second are those of one worker."""
    frames = sum(one.frames for one in measured)
    begin = time.perf_counter()
    join_films(films, frames, output, audio)
    worked = sum(one.seconds for one in measured) + time.perf_counter() - begin
    model = sum(one.model_seconds for one in measured)
    return {
        "frames": frames,
        "seconds": frames / FPS,
        "fps_model": round(frames / model, 2) if model else 0.0,
        "fps_total": round(frames / worked, 2),
    }
