"""What the tests of a running platform do with it, in their words."""

from __future__ import annotations

import os
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.settings import Settings
from likeness_client import Client

ROOT = Path(__file__).resolve().parents[2]
TIMINGS = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 0.3,
    "reaper_seconds": 0.3,
    "rehint_seconds": 3.0,
    "max_attempts": 2,
}


@dataclass(frozen=True)
class Running:
    client: Client
    settings: Settings
    folder: Path
    url: str
    api_key: str

    def clip(self, **options: object) -> Path:
        """A tiny 'video': the text that tells the tiny pipeline what to do; no two are the same."""
        path = self.folder / "clip.mp4"
        options["nonce"] = uuid.uuid4().hex
        path.write_text(" ".join(f"{name}={value}" for name, value in options.items()))
        return path

    def submit(self, **options: object) -> str:
        identity = self.client.create_identity(self.client.upload(self.clip(**options)), consent_attested=True)
        return identity.id

    def job_of(self, identity: str) -> str:
        return self.client.identity(identity).job

    def until_progress(self, job: str, stage: str, at_least: float) -> None:
        wait_for(lambda: _stage_progress(self.client, job, stage) >= at_least, f"{stage} of {job} to move")

    def log(self) -> str:
        return (self.settings.logs_dir / "worker.log").read_text()


def _stage_progress(client: Client, job: str, stage: str) -> float:
    return max((one["progress"] for one in client.job(job).stages if one["name"] == stage), default=0.0)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)


def workers_of(data: Path) -> list[psutil.Process]:
    """All processes of this machine that work for this platform, the pool's included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LIKENESS_DATA_DIR") == str(data) and process.pid != os.getpid():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def main_worker(data: Path) -> psutil.Process:
    workers = workers_of(data)
    pids = {process.pid for process in workers}
    return next(process for process in workers if process.ppid() not in pids)


def steps(bundle: Path) -> list[str]:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read("steps.log").decode().splitlines()


LONG_FACE = {"steps": 2, "face": 30, "pause": 0.05}
"""A job that can be caught in its face stage."""


def all_steps(steps: int, face: int) -> list[str]:
    counts = {"preprocess": steps, "face": face, "mouth": steps, "fuse": steps}
    return [f"{stage} {step}" for stage, count in counts.items() for step in range(count)]
