"""`likeness serve`: the whole platform on one machine, with nothing to install. It puts the parts together, no more.

API, relay and reaper are threads of this process; the worker is a process of its own, so that a stage can't stall the
API, and a crash of native code can't take it down.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from cli.console import print_json, stderr
from core.errors import UsageError

if TYPE_CHECKING:
    import uvicorn

    from core.settings import Settings

START_SECONDS = 30.0
STOP_API_SECONDS = 1


@dataclass(frozen=True)
class Embedded:
    """A platform that runs."""

    url: str
    api_key: str


def worker_command(settings: Settings) -> list[str]:
    """The command of the worker that does the real work."""
    return [sys.executable, "-m", "cli.worker", "--data", str(settings.data_dir.absolute())]


@contextmanager
def embedded_platform(settings: Settings, worker: Sequence[str]) -> Iterator[Embedded]:
    """Run the whole platform inside the block; at its end nothing of it is left running.

    Args:
        settings: where the data lies, which port (0: a free one).
        worker: the command of the worker process (`worker_command`; tests have their own).

    Raises:
        UsageError: `data_dir_in_use`, `port_in_use`.
    """
    import uvicorn

    from api.app import create_app
    from api.bootstrap import first_key, open_platform
    from core.jobs.reaper import reap_owner
    from workers.app import CeleryPublisher
    from workers.background import Background
    from workers.supervisor import WorkerSupervisor

    with ExitStack() as stack:
        stack.enter_context(_only_one(settings.data_dir.absolute()))
        listener = stack.enter_context(_listen(settings.host, settings.port))
        platform = open_platform(settings)
        stack.callback(platform.database.close)
        key = first_key(platform)
        reap_owner(platform.database, "serve-")  # a worker of an earlier run, which ended with it
        stack.enter_context(Background(settings, platform.database, CeleryPublisher(settings)))
        supervisor = WorkerSupervisor(
            worker,
            _worker_environment(settings),
            settings.logs_dir / "worker.log",
            lambda prefix: reap_owner(platform.database, prefix),
        )
        stack.enter_context(supervisor)
        config = uvicorn.Config(
            create_app(platform),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_API_SECONDS,
            lifespan="off",
        )
        stack.enter_context(_serving(uvicorn.Server(config), listener))
        host, port = listener.getsockname()[:2]
        yield Embedded(f"http://{host}:{port}", key)


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def serve(
        data: Annotated[Path | None, typer.Option(help="Data folder (LIKENESS_DATA_DIR; likeness-data).")] = None,
        port: Annotated[int | None, typer.Option(help="Port (LIKENESS_PORT; 8000); 0 for a free one.")] = None,
        host: Annotated[str | None, typer.Option(help="Address (LIKENESS_HOST; 127.0.0.1).")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the address and key as JSON.")] = False,
    ) -> None:
        """Run API, relay, reaper and one worker: SQLite, local files, no servers to install. Ctrl-C stops it."""
        from core.settings import load_settings
        from workers.logs import configure_logs

        given = {"data_dir": data, "port": port, "host": host}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        configure_logs(sys.stderr, for_people=settings.mode == "embedded")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with embedded_platform(settings, worker_command(settings)) as running:
            if as_json:
                print_json({"url": running.url, "api_key": running.api_key})
                sys.stdout.flush()
            else:
                stderr.print(f"Likeness is at [bold]{running.url}[/] (the API's pages: {running.url}/docs)")
                stderr.print(f"  export LIKENESS_URL={running.url} LIKENESS_API_KEY={running.api_key}", soft_wrap=True)
            stop.wait()
            stderr.print("stopping: the running stage is checkpointed and handed back")


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the data folder's lock: two platforms on one folder would take each other's workers for dead ones."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "Stop it, or give this one another --data."
            raise UsageError("data_dir_in_use", "Another platform runs on this data folder.", hint) from None
        yield


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            hint = "Give another --port, or 0 for a free one."
            raise UsageError("port_in_use", f"Can't listen on {host}:{port}.", hint) from error
        listener.listen(128)
        yield listener


@contextmanager
def _serving(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_API_SECONDS + 2)


def _worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment; temporary files go to the data folder, which is on the disk that has room."""
    temporary = settings.data_dir.absolute() / "tmp"
    temporary.mkdir(exist_ok=True, mode=0o700)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    for name, value in settings.model_dump(exclude_defaults=True).items():
        plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        environment[f"LIKENESS_{name.upper()}"] = plain
    return environment
