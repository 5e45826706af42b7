"""`likeness render`: an avatar bundle and a speech recording -> one MP4.

Head motion, expression and backdrop come from the recorded portrait, forth and back; the mouth comes from the speech.
Knows no jobs and no terminal.
"""

from __future__ import annotations

import time
from pathlib import Path

from core.media.encode import VideoWriter
from core.progress import StageContext
from core.render.driving import FPS
from core.render.hearing import hear
from core.render.scene import Look, check_look, open_scene
from core.render.streaming import FrameStream
from core.render.synthesis import Stopwatch

STAGE = "render"
_REPORT_EVERY = 5


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
    look = Look(size, background, label)
    check_look(bundle, look)
    speech = hear(audio)
    context.check()
    context.report(STAGE, 0.02)
    stopwatch = Stopwatch()
    with open_scene(bundle, look) as scene:
        writer = VideoWriter(output, scene.side, scene.side, fps=FPS, audio=audio, joinable=True)
        with writer, FrameStream(writer) as stream:
            for number, frame in enumerate(scene.frames(speech, 0, speech.frames, stopwatch)):
                context.check()
                stream.write(frame)
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
