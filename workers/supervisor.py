"""Starts one worker process, starts it again when it dies, and ends it with all its children.

It knows the process, not what runs in it. When the process died, its leases are given up at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from workers.app import SUPERVISED_VARIABLE
from workers.liveness import NAME_VARIABLE

STOP_SECONDS = 6.0
"""How long a worker may take to write a checkpoint and hand its stage back."""
STABLE_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 30.0
KILL_GRACE_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class WorkerSupervisor:
    """Context manager: the worker runs inside the block."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        log_path: Path,
        on_death: Callable[[str], object],
    ) -> None:
        self._command = list(command)
        self._environment = environment
        self._log_path = log_path
        self._on_death = on_death
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-supervisor", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WorkerSupervisor:
        self._log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def pid(self) -> int | None:
        """Process id of the worker that runs now."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _run(self) -> None:
        backoff = 1.0
        while not self._stop.is_set():
            # A new name each time: the leases of the dead one can be told from those of its successor.
            name = f"serve-{uuid.uuid4().hex[:12]}"
            started = time.monotonic()
            self._process = self._start(name)
            self._wait(self._process)
            _kill_group(self._process.pid)
            self._on_death(f"{name}:")
            if self._stop.is_set():
                break
            _log.warning("worker died", status=self._process.returncode)
            backoff = 1.0 if time.monotonic() - started > STABLE_SECONDS else min(backoff * 2, MAX_BACKOFF_SECONDS)
            self._stop.wait(backoff)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {**self._environment, NAME_VARIABLE: name, SUPERVISED_VARIABLE: str(os.getpid())}
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not self._stop.wait(0.1):
            pass
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("worker did not stop in time, killing it")
            _kill_group(process.pid)
            process.wait()


def _kill_group(group: int) -> None:
    """Kill what is left of the worker's process group: its children die with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
        time.sleep(KILL_GRACE_SECONDS)
