"""The Celery application, set up as the evidence asks: late acknowledgement, no prefetch, no results, JSON only.

A message wakes a worker up; what it does then, the database says. So Celery's own retries, results and remote control
are off: each is a second truth.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from billiard import active_children  # type: ignore[import-untyped]
from celery import Celery, signals
from kombu.exceptions import OperationalError

from core.jobs.database import Database
from core.settings import Settings
from core.storage import open_store
from core.telemetry import start_tracing
from workers.lifeline import end_with_parent
from workers.liveness import mark, mark_path, watch_over, worker_name
from workers.logs import configure_logs
from workers.metrics import serve_metrics
from workers.pipeline import LoadPipeline
from workers.stage import StageRunner

TASK = "likeness.run_stage"
CUDA = Path("/proc/driver/nvidia/gpus")
"""There where an NVIDIA card is: its memory comes back only with the end of the process that used it."""
SUPERVISED_VARIABLE = "LIKENESS_WORKER_SUPERVISED"
"""The supervisor's process id: its worker ends with it."""
REPLACED = 75
"""Exit status of a pool process that gives up its stage, and all memory with it; the pool starts another."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def create_celery(settings: Settings) -> Celery:
    """A Celery application that can send messages; `run_worker` adds the task that receives them."""
    app = Celery("likeness", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url or "filesystem://",
        broker_transport_options=_transport_options(settings),
        broker_connection_retry_on_startup=True,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_create_missing_queues=True,
        **_one_message_at_a_time(settings),
        worker_concurrency=settings.worker_concurrency,
        worker_max_tasks_per_child=1 if CUDA.exists() else settings.worker_stages_per_process,
        worker_lost_wait=1.0,  # for the result of a process that died: there is none that counts
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class CeleryPublisher:
    """Sends the outbox's messages: the `Publish` of `core.jobs.outbox`."""

    def __init__(self, settings: Settings) -> None:
        self._app = create_celery(settings)
        options = self._app.conf.broker_transport_options
        self._messages = Path(options["data_folder_in"]) if "data_folder_in" in options else None
        if self._messages is not None:
            # A worker may read a message's file while the transport still writes it. So it is written aside, and moved.
            self._outgoing = self._messages.with_name("outgoing")
            self._outgoing.mkdir(exist_ok=True, mode=0o700)
            self._app.conf.broker_transport_options = {**options, "data_folder_out": str(self._outgoing)}

    def __call__(self, queue: str, stage_run_id: str) -> None:
        """Send one message.

        Raises:
            OSError: the broker's folder can't be written, or (ConnectionError) its server is away. It is not tried
                again here: the caller holds a transaction open.
        """
        try:
            self._app.send_task(TASK, args=[stage_run_id], queue=queue, ignore_result=True, retry=False)
        except OperationalError as error:
            raise ConnectionError(f"the broker is away: {error}") from error
        if self._messages is not None:
            for message in self._outgoing.iterdir():
                message.replace(self._messages / message.name)


def run_worker(settings: Settings, queues: Sequence[str], load_pipeline: LoadPipeline) -> NoReturn:
    """Be a worker of these queues until told to stop (SIGTERM or SIGINT), then end this process.

    On the signal the running stage is asked to stop, writes its checkpoint, and is handed back.
    """
    configure_logs(sys.stderr)
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(settings.worker_threads))
    name = worker_name()
    if os.environ.get(SUPERVISED_VARIABLE):
        end_with_parent(int(os.environ[SUPERVISED_VARIABLE]))
    stop_flag = settings.run_dir / f"stop-{os.getpid()}"
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stop_flag.unlink(missing_ok=True)
    mark(mark_path(settings, name))
    if settings.metrics_port:
        serve_metrics(settings, name)

    app = create_celery(settings)
    _register(app, settings, queues, load_pipeline, name, stop_flag)

    def ask_to_stop(**_: Any) -> None:
        stop_flag.touch()

    def keep_our_logs(**_: Any) -> None:
        """With a receiver of this signal, Celery leaves the logging of all its processes as it is."""

    signals.setup_logging.connect(keep_our_logs, weak=False)
    signals.worker_shutting_down.connect(ask_to_stop, weak=False)
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        pool_cls="prefork",
        queues=list(queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    watch_over(settings, name, queues, lambda: _leave(REPLACED))
    try:
        worker.start()
    except SystemExit as ended:
        worker.exitcode = ended.code
    finally:
        stop_flag.unlink(missing_ok=True)
    _leave(int(worker.exitcode or 0))


def _leave(status: int) -> NoReturn:
    """End this process and its pool at once.

    The warm shutdown has waited for the running stage. The pool's own clean-up at interpreter exit then waits some
    seconds more, for a lock that an idle pool process holds (billiard 4.3, transports without an event loop).
    """
    for child in active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _register(
    app: Celery, settings: Settings, queues: Sequence[str], load_pipeline: LoadPipeline, name: str, stop_flag: Path
) -> None:
    runners: dict[int, StageRunner] = {}
    flush: dict[int, Callable[[], None]] = {}

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def run_stage(stage_run_id: str) -> None:
        del stage_run_id  # a hint: which stage is next, the database says
        if os.getpid() not in runners:
            flush[os.getpid()] = start_tracing(settings.otlp_endpoint, "likeness-worker")
            runners[os.getpid()] = StageRunner(
                settings,
                Database(settings.database),
                open_store(settings),
                load_pipeline(),
                owner=f"{name}:{os.getpid()}",
                stop_requested=stop_flag.exists,
                alive=lambda: mark(mark_path(settings, name)),
                replace_process=lambda: os._exit(REPLACED),
            )
        runners[os.getpid()].run_next(queues)
        flush[os.getpid()]()


def _one_message_at_a_time(settings: Settings) -> dict[str, object]:
    """How a worker takes no message before it has a process for it.

    With Redis not by counting unacknowledged messages: where the broker dies while a stage runs, that stage's
    acknowledgement fails, stays counted, and the worker would never ask for a message again (kombu 5.7).
    """
    if _is_files(settings):
        return {"worker_prefetch_multiplier": 1}
    return {"worker_prefetch_multiplier": 0, "worker_disable_prefetch": True}


def _is_files(settings: Settings) -> bool:
    return not settings.broker_url or settings.broker_url.startswith("filesystem")


def _transport_options(settings: Settings) -> dict[str, object]:
    if not _is_files(settings):
        return {"visibility_timeout": 24 * 3600}
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    folders = {name: settings.broker_dir / name for name in ("messages", "control")}
    for folder in (settings.broker_dir, *folders.values()):
        folder.mkdir(exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    return {
        "data_folder_in": str(folders["messages"]),
        "data_folder_out": str(folders["messages"]),
        "control_folder": str(folders["control"]),
        "polling_interval": 0.1,
    }
