"""Several worker processes on one database, with the relay and the reaper: what faults are done to.

Jobs go in through the database and the store; no API takes part. The settings decide which: files of this machine, or
the servers of a real installation (LIKENESS_DATABASE_URL, LIKENESS_BROKER_URL, LIKENESS_S3_...).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from core.jobs.database import Database
from core.settings import Settings
from workers.app import CeleryPublisher
from workers.background import Background
from workers.liveness import NAME_VARIABLE

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Worker:
    """One worker process, started again whenever it ended."""

    name: str
    process: subprocess.Popen[bytes]
    starts: int = 1

    def children(self) -> list[psutil.Process]:
        """The pool: processes that run stages."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@dataclass
class Fleet:
    """Workers of one command, kept at their number until the block ends."""

    settings: Settings
    command: Sequence[str]
    environment: dict[str, str]
    workers: list[Worker] = field(default_factory=list)
    on_start: Callable[[Worker], None] = lambda worker: None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self, name: str, **environment: str) -> Worker:
        worker = Worker(name, self._process(name, environment))
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """kill -9 of the worker and its pool, as when its container dies."""
        for process in (*worker.children(), psutil.Process(worker.process.pid)):
            with suppressed():
                process.kill()

    def keep_alive(self) -> None:
        """Start again what ended: what a container's restart policy does."""
        while not self._stop.wait(0.2):
            for worker in self.workers:
                if worker.process.poll() is not None:
                    worker.starts += 1
                    worker.process = self._process(worker.name, {})
                    self.on_start(worker)

    def close(self) -> None:
        self._stop.set()
        for worker in self.workers:
            children = worker.children()
            for process in (*children, worker.process):
                with suppressed():
                    process.send_signal(signal.SIGCONT)
            with suppressed():
                worker.process.kill()
            for process in children:
                with suppressed():
                    process.kill()
            worker.process.wait()

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.settings.logs_dir.glob("*.log")))

    def _process(self, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        self.settings.logs_dir.mkdir(parents=True, exist_ok=True)
        with (self.settings.logs_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self.command,
                env={**self.environment, NAME_VARIABLE: name, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )


def suppressed() -> AbstractContextManager[None]:
    """Whom the signal was for is gone already."""
    return suppress(psutil.NoSuchProcess, ProcessLookupError)


@contextmanager
def running_fleet(
    settings: Settings, database: Database, command: Sequence[str], names: Sequence[str], *, restart: bool = True
) -> Iterator[Fleet]:
    """Relay, reaper and these workers inside the block; at its end none of them is left."""
    with ExitStack() as stack:
        stack.enter_context(Background(settings, database, CeleryPublisher(settings)))
        fleet = Fleet(settings, command, worker_environment(settings))
        stack.callback(fleet.close)
        for name in names:
            fleet.start(name)
        if restart:
            keeper = threading.Thread(target=fleet.keep_alive, daemon=True)
            keeper.start()
            stack.callback(keeper.join, 5.0)
            stack.callback(fleet._stop.set)
        yield fleet


def worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with the settings that are not the default."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, value in settings.model_dump(exclude_defaults=True, mode="json").items():
        secret = getattr(getattr(settings, name), "get_secret_value", None)
        environment[f"LIKENESS_{name.upper()}"] = str(secret() if secret is not None else value)
    return environment


TINY = [sys.executable, str(Path(__file__).with_name("tiny_worker.py")), "cpu,train,render"]


def wait_until(condition: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)
