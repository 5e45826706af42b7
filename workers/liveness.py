"""Whether a worker claims work, which is more than whether its process is there.

It leaves a mark whenever it asked the database for work, and while a stage of its runs. A worker without a fresh mark
is well as long as nothing waits for it: an idle one hears nothing.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import LikenessError
from core.jobs.claims import waiting_since
from core.jobs.database import Database
from core.settings import Settings

CHECKS_PER_SILENCE = 6
NAME_VARIABLE = "LIKENESS_WORKER_NAME"


def worker_name() -> str:
    """Name of the worker of this machine or container: what LIKENESS_WORKER_NAME says, else the host's."""
    return os.environ.get(NAME_VARIABLE) or f"worker-{socket.gethostname()}"


_log = structlog.get_logger(__name__)


class WorkerSilentError(LikenessError):
    """Work waits for the worker, and it does not ask for it."""


def mark_path(settings: Settings, name: str) -> Path:
    """The file whose time says when the worker of that name last asked for work."""
    return settings.run_dir / f"alive-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"


def mark(path: Path) -> None:
    """Asked for work, or at work, just now."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch()
    os.utime(path)


def check_worker(settings: Settings, database: Database, name: str, queues: Sequence[str]) -> None:
    """Raises:
    WorkerSilentError: `worker_silent`.
    """
    limit = settings.worker_silent_seconds
    path = mark_path(settings, name)
    silent = time.time() - path.stat().st_mtime if path.exists() else float("inf")
    if silent <= limit:
        return
    with database.read() as session:
        waited = waiting_since(session, queues)
    if waited is not None and waited > limit:
        raise WorkerSilentError(
            "worker_silent",
            f"A stage has waited for {waited:.0f} s, and worker {name} has not asked for it.",
            "Restart the worker: it has lost the message broker or the database.",
        )


def watch_over(settings: Settings, name: str, queues: Sequence[str], give_up: Callable[[], None]) -> None:
    """Check this worker from a thread, for ever; call `give_up` when it lets work wait.

    A pool process that is killed while it waits for work takes the pool's lock with it (billiard 4.3, transports
    without an event loop): its successors hear nothing, and nothing of this shows in the process that started them.
    """

    def watch() -> None:
        while True:
            time.sleep(settings.worker_silent_seconds / CHECKS_PER_SILENCE)
            # Opened for each check and closed again: a pool process must not inherit the connection.
            database = Database(settings.database)
            try:
                check_worker(settings, database, name, queues)
            except WorkerSilentError as silent:
                _log.error("worker gives itself up", why=silent.message)
                give_up()
                return
            except SQLAlchemyError:
                _log.warning("worker not checked: the database does not answer")
            finally:
                database.close()

    threading.Thread(target=watch, name="liveness", daemon=True).start()
