"""The platform in production mode on the real servers, as processes of their own; its pipeline is tiny, or real."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import select

from cli.services import Servers, free_port
from core.jobs.database import Database
from core.jobs.storage_sweep import find_orphans
from core.jobs.tables import StageRun, Tenant
from core.settings import load_settings
from core.storage import ObjectStore, open_store
from likeness_client import Client
from tests.workers.running_platform import ROOT, Running, all_steps, steps, wait_for, workers_of

TINY_SERVE = (sys.executable, str(ROOT / "tests" / "workers" / "tiny_serve.py"))
REAL_SERVE = (str(Path(sys.executable).with_name("likeness")), "serve", "--json")
SETTINGS = {
    "LIKENESS_CONSENT_POLICY": "attestation",
    "LIKENESS_LEASE_SECONDS": "3",
    "LIKENESS_HEARTBEAT_SECONDS": "0.3",
    "LIKENESS_REAPER_SECONDS": "0.3",
    "LIKENESS_REHINT_SECONDS": "2",
    "LIKENESS_RETRY_SECONDS": "0.5",
    "LIKENESS_CHECKPOINT_SECONDS": "1",
}
_platforms = itertools.count()


class Serving:
    """`likeness serve`. It can be killed and started again on its port."""

    def __init__(self, folder: Path, environment: Mapping[str, str], command: Sequence[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._environment = {
            **os.environ,
            **SETTINGS,
            **environment,
            "PYTHONPATH": str(ROOT),
            "LIKENESS_DATA_DIR": str(self.data),
            "LIKENESS_PORT": str(free_port()),
        }
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.api_key = ""

    def start(self) -> None:
        with (self.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.PIPE, stderr=log, cwd=ROOT
            )
        assert self._process.stdout is not None
        lines = b""
        while not lines.rstrip().endswith(b"}"):
            line = self._process.stdout.readline()
            assert line, (self.folder / "serve.log").read_text()[-3000:]
            lines += line
        told = json.loads(lines)
        self.url, self.api_key = told["url"], told["api_key"]

    def kill(self) -> None:
        """SIGKILL. Its worker ends by itself."""
        assert self._process is not None
        workers = [process for process in workers_of(self.data) if process.pid != self._process.pid]
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(workers, timeout=20)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
        wait_for(lambda: workers_of(self.data) == [], "the workers to end")


@dataclass(frozen=True)
class OnServers(Running):
    """A running platform whose database and store can be looked into."""

    serving: Serving
    database: Database
    store: ObjectStore

    def check_once(self, identity: str, face: int = 30) -> None:
        """The identity's job has ended well, exactly once, with all its steps, and nothing is left in the store."""
        job = self.client.wait(self.job_of(identity), poll_s=0.1, timeout_s=90)
        assert [event.type for event in self.client.events(job.id)].count("job.succeeded") == 1
        with self.database.read() as session:
            states = Counter(session.scalars(select(StageRun.state).where(StageRun.job_id == job.id)))
        assert set(states) == {"succeeded"}
        bundle = self.folder / f"{identity}.likeness"
        self.client.download_bundle(identity, bundle)
        assert set(steps(bundle)) == set(all_steps(2, face))
        wait_for(lambda: self.orphans() == [], "the store to hold nothing that no row points at")

    def orphans(self) -> list[str]:
        """Keys of this platform's tenants to which no row points."""
        with self.database.read() as session:
            tenants = set(session.scalars(select(Tenant.id)))
        found = find_orphans(self.database, self.store, older_than_s=-1e9)
        return [one.key for one in found if one.key.split("/")[0] in tenants]


@contextmanager
def platform_on(
    stack: Servers, database_url: str, folder: Path, command: Sequence[str] = TINY_SERVE, **more: str
) -> Iterator[OnServers]:
    """Run a platform on an empty database inside the block. `more`: environment variables of its processes."""
    # Queues of its own: a platform that runs beside it would take its messages, which costs seconds for each.
    broker = stack.valkey.url.removesuffix("/0") + f"/{next(_platforms) % 16}"
    own = {"LIKENESS_DATABASE_URL": database_url, "LIKENESS_BROKER_URL": broker}
    environment = {**stack.environment(), **own, **more}
    serving = Serving(folder, environment, command)
    serving.start()
    database = Database(database_url)
    try:
        with Client(serving.url, serving.api_key) as client:
            settings = load_settings(data_dir=serving.data)
            store = _own_store(stack) if environment["LIKENESS_S3_BUCKET"] else open_store(settings)
            yield OnServers(client, settings, folder, serving.url, serving.api_key, serving, database, store)
    finally:
        serving.stop()
        database.close()


def _own_store(stack: Servers) -> ObjectStore:
    """The store past everything that the platform may have in front of it."""
    settings = load_settings(
        s3_bucket=stack.seaweedfs.bucket,
        s3_endpoint=stack.seaweedfs.url,
        s3_access_key=stack.seaweedfs.access_key,
        s3_secret_key=stack.seaweedfs.secret,
    )
    return open_store(settings)
