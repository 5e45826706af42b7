"""Frames reach the encoder in order, beside the synthesis, and its failure reaches the caller."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from core.render.streaming import QUEUED_FRAMES, FrameStream


def frame(number: int) -> np.ndarray:
    return np.full((2, 2, 3), number, np.uint8)


class RecordingWriter:
    """Test double of an encoder: keeps what it gets, fails at a given frame, waits for a gate."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.seen: list[int] = []
        self.fail_at = fail_at
        self.gate = threading.Event()
        self.gate.set()

    def write(self, frame: np.ndarray) -> None:
        self.gate.wait(5)
        if len(self.seen) == self.fail_at:
            raise OSError("disk full")
        self.seen.append(int(frame[0, 0, 0]))


def test_all_frames_arrive_in_order() -> None:
    writer = RecordingWriter()
    with FrameStream(writer) as stream:
        for number in range(100):
            stream.write(frame(number))
    assert writer.seen == list(range(100))


def test_synthesis_goes_on_while_the_encoder_is_busy() -> None:
    writer = RecordingWriter()
    writer.gate.clear()
    with FrameStream(writer) as stream:
        for number in range(QUEUED_FRAMES):
            stream.write(frame(number))
        assert writer.seen == []
        writer.gate.set()
    assert writer.seen == list(range(QUEUED_FRAMES))


def test_the_encoders_failure_is_raised_once_and_does_not_hang() -> None:
    writer = RecordingWriter(fail_at=3)
    with pytest.raises(OSError, match="disk full"), FrameStream(writer) as stream:
        for number in range(1000):
            stream.write(frame(number))
    assert writer.seen == [0, 1, 2]


def test_a_failure_at_the_last_frame_is_raised_on_leaving() -> None:
    with pytest.raises(OSError, match="disk full"), FrameStream(RecordingWriter(fail_at=0)) as stream:
        stream.write(frame(1))


def test_a_failed_synthesis_keeps_its_own_error() -> None:
    writer = RecordingWriter()
    with pytest.raises(KeyError), FrameStream(writer) as stream:
        stream.write(frame(1))
        raise KeyError
    assert not any(thread.name == "frame-stream" for thread in threading.enumerate())
