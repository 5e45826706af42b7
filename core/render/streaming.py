"""Encoding beside synthesis: frames go through a short queue to a thread that feeds the encoder's process.

Synthesis then never waits for a pipe, and memory holds a few frames only. Knows no avatar.
"""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
QUEUED_FRAMES = 8


class FrameWriter(Protocol):
    """What takes frames in order; `core.media.encode.VideoWriter` is one."""

    def write(self, frame: Frame) -> None:
        """Append one frame."""
        ...


class FrameStream:
    """A context manager whose `write` returns at once while the queue has room.

    What the writer raises is raised by the next `write`, or on leaving the `with` block.
    """

    def __init__(self, writer: FrameWriter) -> None:
        """`writer` is used by this stream's thread only, until the `with` block ends."""
        self._writer = writer
        self._queue: queue.Queue[Frame | None] = queue.Queue(QUEUED_FRAMES)
        self._error: BaseException | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frame-stream", daemon=True)

    def __enter__(self) -> FrameStream:
        self._thread.start()
        return self

    def write(self, frame: Frame) -> None:
        """Queue one frame ([H, W, 3] uint8), which must not be changed afterwards."""
        self._raise()
        self._queue.put(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandoned.set()
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (frame := self._queue.get()) is not None:
            if self._error is not None or self._abandoned.is_set():
                continue
            try:
                self._writer.write(frame)
            except BaseException as error:  # noqa: BLE001 - carried to the thread that writes, and raised there
                self._error = error
