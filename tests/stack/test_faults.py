"""Servers are killed, stopped, filled and cut off while a job runs: it ends once, and nothing is left behind.

The outage of Postgres as long as it may be in earnest: `LIKENESS_TEST_OUTAGE_SECONDS=20 pytest tests/stack`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cli.services import Servers
from likeness_client.errors import ClientError
from tests.stack.platform_on_servers import OnServers, platform_on
from tests.stack.unreliable_proxy import unreliable_proxy
from tests.workers.running_platform import LONG_FACE, wait_for

pytestmark = pytest.mark.installation

OUTAGE_SECONDS = float(os.environ.get("LIKENESS_TEST_OUTAGE_SECONDS", "4"))


@pytest.fixture(scope="module")
def running(stack: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnServers]:
    database = stack.postgres.create_database("faults")
    with platform_on(stack, database, tmp_path_factory.mktemp("faults")) as platform:
        yield platform


@pytest.mark.parametrize("keeps_memory", [True, False])
def test_kill_9_of_the_broker(running: OnServers, stack: Servers, keeps_memory: bool) -> None:
    stack.valkey.stop()
    stack.valkey.keeps_memory = keeps_memory
    stack.valkey.start()
    working = running.submit(**LONG_FACE)
    running.until_progress(running.job_of(working), "adapt-face", 0.2)
    waiting = running.submit(**LONG_FACE)
    stack.valkey.kill()
    away = running.submit(**LONG_FACE)
    time.sleep(1)
    stack.valkey.start()
    for identity in (working, waiting, away):
        running.check_once(identity)


def test_postgres_stopped(running: OnServers, stack: Servers) -> None:
    identity = running.submit(**LONG_FACE)
    job = running.job_of(identity)
    running.until_progress(job, "adapt-face", 0.2)
    headers = {"Authorization": f"Bearer {running.api_key}"}
    began = time.monotonic()
    stack.postgres.stop()
    answer = httpx.get(f"{running.url}/v1/jobs/{job}", headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.json()["retryable"] is True
    assert int(answer.headers["Retry-After"]) > 0
    assert httpx.get(f"{running.url}/healthz").status_code == 200
    assert httpx.get(f"{running.url}/readyz", timeout=30).status_code == 503
    time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    stack.postgres.start()
    running.check_once(identity)


def test_kill_9_of_postgres(running: OnServers, stack: Servers) -> None:
    identity = running.submit(**LONG_FACE)
    running.until_progress(running.job_of(identity), "adapt-face", 0.2)
    stack.postgres.kill()
    time.sleep(1)
    stack.postgres.start()
    running.check_once(identity)


def test_s3_answers_503_and_cuts_connections(stack: Servers, new_database: Callable[[], str], tmp_path: Path) -> None:
    with unreliable_proxy(stack.seaweedfs.url, seed=11) as proxy:
        more = {"LIKENESS_S3_ENDPOINT": proxy.url, "LIKENESS_S3_PUBLIC_ENDPOINT": stack.seaweedfs.url}
        with platform_on(stack, new_database(), tmp_path, **more) as platform:
            proxy.busy, proxy.cut = 0.25, 0.2
            identities = [platform.submit(**LONG_FACE, name=number) for number in range(2)]
            for identity in identities:
                platform.check_once(identity)
        assert proxy.done["503"] > 0
        assert proxy.done["cut request"] + proxy.done["cut answer"] > 0


def test_s3_away_for_longer_than_a_request_waits(
    stack: Servers, new_database: Callable[[], str], tmp_path: Path
) -> None:
    with unreliable_proxy(stack.seaweedfs.url) as proxy:
        more = {"LIKENESS_S3_ENDPOINT": proxy.url, "LIKENESS_S3_PUBLIC_ENDPOINT": stack.seaweedfs.url}
        with platform_on(stack, new_database(), tmp_path, **more) as platform:
            upload = platform.client.upload(platform.clip(**LONG_FACE))
            identity = platform.submit(**LONG_FACE)
            platform.until_progress(platform.job_of(identity), "adapt-face", 0.2)
            proxy.busy = 1.0
            answer = httpx.post(
                f"{platform.url}/v1/uploads",
                json={"filename": "large.mp4", "size": 100 << 20, "sha256": "0" * 64},
                headers={"Authorization": f"Bearer {platform.api_key}"},
                timeout=60,
            )
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            proxy.busy = 0.0
            platform.check_once(identity)
            assert platform.client.upload(platform.clip(**LONG_FACE), resume=upload) == upload


@pytest.mark.parametrize("where", ["s3", "local"])
def test_kill_9_of_the_api_in_mid_upload(
    stack: Servers, new_database: Callable[[], str], tmp_path: Path, where: str
) -> None:
    more = {"LIKENESS_PART_BYTES": str(5 << 20)} | ({} if where == "s3" else {"LIKENESS_S3_BUCKET": ""})
    with platform_on(stack, new_database(), tmp_path, **more) as platform:
        clip = platform.clip(**LONG_FACE)
        clip.write_text(clip.read_text() + " " * (12 << 20))
        upload = platform.client.create_upload(clip)
        killed = threading.Event()

        def on_progress(fraction: float) -> None:
            if fraction > 0.6 and not killed.is_set():
                platform.serving.kill()
                killed.set()

        with contextlib.suppress(ClientError):
            platform.client.upload(clip, on_progress, resume=upload)
        assert killed.is_set()
        platform.serving.start()
        sent: list[float] = []
        assert platform.client.upload(clip, sent.append, resume=upload) == upload
        assert sent[0] > 0.4, "what had arrived was not sent again"
        platform.check_once(platform.client.create_identity(upload, consent_attested=True).id)


def test_disk_full_in_the_work_directory(stack: Servers, new_database: Callable[[], str], tmp_path: Path) -> None:
    work = tmp_path / "data" / "work"
    work.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", work], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a file system of 1 MB here")
    try:
        with platform_on(stack, new_database(), tmp_path, LIKENESS_MAX_ATTEMPTS="2") as platform:
            clip = platform.clip(**LONG_FACE)
            clip.write_text(clip.read_text() + " " * (3 << 20))
            identity = platform.client.create_identity(platform.client.upload(clip), consent_attested=True).id
            job = platform.job_of(identity)
            wait_for(lambda: platform.client.job(job).finished, "the job to give up")
            failed = platform.client.job(job)
            assert (failed.state, failed.error and failed.error.code) == ("failed", "disk_full")
            assert {attempt["error_code"] for attempt in failed.attempts} == {"disk_full"}
            subprocess.run(["mount", "-o", "remount,size=64m", work], check=True)
            platform.client.retry(job)
            platform.check_once(identity)
    finally:
        subprocess.run(["umount", "-l", work], check=True)
