"""What is killed, and when, does not matter: each job ends once, from its last checkpoint, and no process is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from cli.serve import embedded_platform
from core.settings import load_settings
from likeness_client import Client, JobFailedError
from tests.workers.running_platform import (
    LONG_FACE,
    ROOT,
    TIMINGS,
    Running,
    all_steps,
    main_worker,
    steps,
    wait_for,
    workers_of,
)
from tests.workers.tiny_serve import TINY_WORKER


def check_resumed_once(running: Running, identity: str, folder: Path, outcomes: list[str]) -> None:
    """One finished job, whose face stage was taken up where it was cut off: no step missing, at most one double."""
    job = running.client.wait(running.job_of(identity), poll_s=0.1, timeout_s=40)
    face = [attempt for attempt in job.attempts if attempt["stage"] == "adapt-face"]
    assert [attempt["outcome"] for attempt in face] == outcomes
    assert face[-1]["resumed_from"] > 0.1
    running.client.download_bundle(identity, folder / "tiny.likeness")
    counted = Counter(steps(folder / "tiny.likeness"))
    assert set(counted) == set(all_steps(2, 30))
    assert counted.total() - len(counted) <= len(outcomes) - 1
    succeeded = [event for event in running.client.events(job.id) if event.type == "job.succeeded"]
    assert len(succeeded) == 1


def test_kill_9_of_the_whole_worker(running: Running, tmp_path: Path) -> None:
    identity = running.submit(**LONG_FACE)
    running.until_progress(running.job_of(identity), "adapt-face", 0.2)
    main_worker(running.settings.data_dir).kill()
    check_resumed_once(running, identity, tmp_path, ["lost", "succeeded"])


def test_kill_9_of_the_process_that_runs_the_stage(running: Running, tmp_path: Path) -> None:
    identity = running.submit(**LONG_FACE)
    running.until_progress(running.job_of(identity), "adapt-face", 0.2)
    (child,) = main_worker(running.settings.data_dir).children()
    child.kill()
    check_resumed_once(running, identity, tmp_path, ["lost", "succeeded"])


def test_a_job_that_kills_its_worker_every_time_is_a_dead_letter_and_its_neighbour_is_unhurt(running: Running) -> None:
    poison = running.job_of(running.submit(die=1))
    neighbour = running.job_of(running.submit(steps=2))
    with pytest.raises(JobFailedError) as dead:
        running.client.wait(poison, poll_s=0.1, timeout_s=40)
    assert dead.value.code == "attempts_exhausted"
    face = [one for one in running.client.job(poison).attempts if one["stage"] == "adapt-face"]
    assert [attempt["outcome"] for attempt in face] == ["lost", "lost"]
    assert running.client.wait(neighbour, poll_s=0.1, timeout_s=40).state == "succeeded"


def test_a_stopped_platform_hands_its_stage_back_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(data_dir=tmp_path / "data", port=0, **TIMINGS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with embedded_platform(settings, TINY_WORKER) as platform, Client(platform.url, platform.api_key) as client:
        first = Running(client, settings, tmp_path, platform.url, platform.api_key)
        identity = first.submit(**LONG_FACE)
        first.until_progress(first.job_of(identity), "adapt-face", 0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert workers_of(settings.data_dir) == []
    with embedded_platform(settings, TINY_WORKER) as platform, Client(platform.url, platform.api_key) as client:
        again = Running(client, settings, tmp_path, platform.url, platform.api_key)
        check_resumed_once(again, identity, tmp_path, ["released", "succeeded"])


def test_nothing_is_left_when_the_platform_itself_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIKENESS_DATA_DIR": str(data), "LIKENESS_PORT": "0"}
    command = [sys.executable, str(Path(TINY_WORKER[1]).with_name("tiny_serve.py"))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        lines = b""
        while not lines.rstrip().endswith(b"}"):
            lines += server.stdout.readline()
        assert json.loads(lines)["url"].startswith("http://127.0.0.1:")
        wait_for(lambda: len(workers_of(data)) >= 3, "the worker and its pool")
        orphans = [process for process in workers_of(data) if process.pid != server.pid]
        server.send_signal(signal.SIGKILL)
    gone, left = psutil.wait_procs(orphans, timeout=15)
    assert not left
    assert gone
