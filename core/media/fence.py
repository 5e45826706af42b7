"""Runs another program inside a fence: limits, time-outs, an empty environment, and no way to outlive us.

Every ffmpeg of this project runs through here. The program gets its own session, so that it dies as a whole; it dies
too when the thread that started it ends or this process is killed (PR_SET_PDEATHSIG), so a started process must not
be handed to a thread that lives longer. This file must not know what it runs, nor what the bytes mean.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import LikenessError

_LAUNCHER = Path(__file__).with_name("launcher.py")
_STDERR_HEAD = 256 * 1024
_STDERR_TAIL = 16 * 1024
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a fenced process may use before it is killed."""

    wall_s: float = 120.0
    """Seconds that we are willing to wait for it in all; time in which it waits for us does not count."""
    cpu_s: int = 240
    """Seconds of CPU time over all its threads (RLIMIT_CPU)."""
    memory_bytes: int = 2 << 30
    """Address space (RLIMIT_AS); ffmpeg's own code and thread stacks take about 400 MB of it."""
    file_bytes: int = 0
    """The largest file that it may write (RLIMIT_FSIZE); pipes are not files."""
    open_files: int = 64


class FenceError(Exception):
    """The process was stopped by the fence: it waited too long or wrote too much. `reason` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"stopped: {reason}")
        self.reason = reason


class ProcessKilledError(LikenessError):
    """Someone else killed the process (the fence's limits use other signals): a machine out of memory, an operator.

    What it worked on is not at fault.
    """

    retryable = True

    def __init__(self) -> None:
        super().__init__("process_killed", "The program that reads and writes media was killed.", "Try again.")


@dataclass(frozen=True)
class Finished:
    """A process that ended by itself."""

    returncode: int
    """Exit status; minus the signal's number where a signal ended it."""
    stdout: bytearray
    """Ours to change: an hour of sound is large enough for one copy."""
    stderr: str
    """The first 256 KiB and the last 16 KiB."""


class FencedProcess:
    """A running process with pipes. Made by `started`; all waiting happens in its methods, in the caller's thread."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process = process
        self._patience_s = limits.wall_s
        self._head = bytearray()
        self._tail = bytearray()
        self._stderr_open = True
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        """Process id; also that of its session and process group."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        return (self._head + self._tail).decode("utf-8", "replace")

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` (bytes) from its stdout. Returns the number of bytes, less than asked only at the end.

        Raises:
            FenceError: it used up our patience.
        """
        filled = 0
        while filled < len(buffer):
            got = self.read_some(buffer[filled:])
            if got == 0:
                break
            filled += got
        return filled

    def read_some(self, buffer: memoryview) -> int:
        """Wait for the next bytes of its stdout and put them into `buffer`. Returns their number, 0 at the end.

        Raises:
            FenceError: it used up our patience.
        """
        stdout = _pipe(self._process.stdout)
        while True:
            self._wait_for(stdout.fileno(), select.POLLIN)
            try:
                return os.readv(stdout.fileno(), [buffer])
            except BlockingIOError:
                continue

    def write(self, data: memoryview) -> None:
        """Hand all of `data` (bytes) to its stdin.

        Raises:
            BrokenPipeError: it has stopped reading; `finish` tells why.
            FenceError: it used up our patience.
        """
        stdin = _pipe(self._process.stdin)
        done = 0
        while done < len(data):
            self._wait_for(stdin.fileno(), select.POLLOUT)
            try:
                done += os.write(stdin.fileno(), data[done : done + _CHUNK])
            except BlockingIOError:
                continue

    def finish(self) -> int:
        """Close its stdin, let it end, and return its exit status (minus the signal's number if a signal ended it).

        Raises:
            FenceError: it used up our patience.
            ProcessKilledError: it was killed, and not by us.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        while self._stderr_open:
            self._wait_for(None, 0)
        try:
            begun = time.monotonic()
            status = self._process.wait(timeout=max(0.0, self._patience_s))
            self._patience_s -= time.monotonic() - begun
        except subprocess.TimeoutExpired:
            raise FenceError("timeout") from None
        if status == -signal.SIGKILL:
            raise ProcessKilledError
        return status

    def kill(self) -> None:
        """End its whole group at once, if any of it is left, and reap it. Safe to call twice."""
        if self._process.returncode is None:  # not reaped yet, so the group's number is still its own
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _wait_for(self, descriptor: int | None, event: int) -> None:
        """Wait until `descriptor` is ready (or, for None, until stderr ends), reading stderr meanwhile."""
        stderr = _pipe(self._process.stderr)
        while True:
            poll = select.poll()
            if descriptor is not None:
                poll.register(descriptor, event)
            if self._stderr_open:
                poll.register(stderr.fileno(), select.POLLIN)
            begun = time.monotonic()
            ready = dict(poll.poll(max(0.0, self._patience_s) * 1000))
            self._patience_s -= time.monotonic() - begun
            if not ready:
                raise FenceError("timeout")
            if stderr.fileno() in ready:
                self._keep_stderr(stderr.fileno())
            if descriptor in ready or (descriptor is None and not self._stderr_open):
                return

    def _keep_stderr(self, descriptor: int) -> None:
        try:
            words = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if not words:
            self._stderr_open = False
            return
        room = _STDERR_HEAD - len(self._head)
        self._head += words[:room]
        self._tail = (self._tail + words[room:])[-_STDERR_TAIL:]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("this process was started without that pipe")
    return pipe


@contextmanager
def started(argv: Sequence[str], limits: Limits, *, feeds: bool = False) -> Iterator[FencedProcess]:
    """Start `argv` (absolute program, arguments; no shell) with an empty environment, in a folder deleted at once.

    Whatever ends the `with` block, the process is gone after it. With `feeds`, its stdin is a pipe for `write`;
    otherwise it has none.
    """
    numbers = (os.getpid(), limits.memory_bytes, limits.cpu_s, limits.file_bytes, limits.open_files)
    command = [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, numbers), "--", *argv]
    with tempfile.TemporaryDirectory(prefix="likeness-fence-", ignore_cleanup_errors=True) as scratch:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=scratch,
            env={},
            start_new_session=True,
        )
        fenced = FencedProcess(process, limits)
        try:
            yield fenced
        finally:
            fenced.kill()


def run(argv: Sequence[str], limits: Limits, *, stdout_bytes: int = 64 << 20) -> Finished:
    """Run `argv` to its end and return what it wrote, at most `stdout_bytes` of it.

    Raises:
        FenceError: `timeout`, or `output` where it wrote more than that.
    """
    with started(argv, limits) as process:
        output = bytearray()
        buffer = memoryview(bytearray(65536))
        while True:
            got = process.read_some(buffer)
            if got == 0:
                break
            output += buffer[:got]
            if len(output) > stdout_bytes:
                raise FenceError("output")
        return Finished(process.finish(), output, process.stderr)
