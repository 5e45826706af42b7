"""What docker-compose.yml starts, started here: the same commands with the same settings, on real servers.

A file that is no video goes the whole way: upload, job, relay, broker, worker, refusal. Its trace goes with it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cli.services import Servers, free_port
from core.accounts.keys import create_tenant
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.lifecycle import submit
from likeness_client import Client
from tests.infra.files import ROOT, compose, manifests, ours

LONG = 120.0
SERVICES = ours(compose()["services"])


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, Span]]]]:
    """A collector of traces. Yields its URL and what it was sent: (service's name, span)."""
    spans: list[tuple[str, Span]] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend((named["service.name"], span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()


class Composed:
    """The compose file's services as processes of this machine."""

    def __init__(self, servers: dict[str, str], folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, service: str) -> dict[str, str]:
        """The service's settings, with the addresses and secrets of the servers that run here."""
        own: dict[str, str] = SERVICES[service]["environment"]
        assert set(self._servers) - {"LIKENESS_CONSENT_POLICY"} <= set(own), "a setting that compose lacks"
        here = {"LIKENESS_DATA_DIR": str(self._folder / service), "LIKENESS_WORKER_NAME": service}
        local = {name: value for name, value in own.items() if not name.startswith("LIKENESS_METRICS")}
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder), "OMP_NUM_THREADS": "1", **local,
                **self._servers, **here}  # fmt: skip

    def run(self, service: str, arguments: list[str], **more: str) -> str:
        """Run a command in the service's place to its end. Returns what it printed."""
        ended = subprocess.run(
            [sys.executable, "-c", "from cli.main import main; main()", *arguments],
            cwd=ROOT, env={**self.environment(service), **more}, capture_output=True, text=True, timeout=LONG,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @contextmanager
    def running(self, service: str, *instead: str, **more: str) -> Iterator[Path]:
        """The service's own command (or one with another port) in the block. Yields its log."""
        command = list(instead) or SERVICES[service]["command"]
        log = self._folder / f"{service}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", "from cli.main import main; main()", *command],
                cwd=ROOT, env={**self.environment(service), **more}, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        try:
            yield log
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(LONG) in (0, -signal.SIGTERM), log.read_text()[-2000:]
            assert time.monotonic() - began < 60
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def until(true: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            found = true()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {LONG:.0f} s: {what}")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.installation
def test_the_composed_services_run_and_a_trace_goes_from_the_request_to_the_stage(
    stack: Servers, new_database: Callable[[], str], tmp_path: Path
) -> None:
    no_video = tmp_path / "me.mp4"
    no_video.write_text("this is no video")
    port, metrics = free_port(), str(free_port())
    with collector() as (endpoint, spans), ExitStack() as opened:
        servers = {
            **stack.environment(),
            "LIKENESS_DATABASE_URL": new_database(),
            "LIKENESS_S3_BUCKET": "composed",  # not there yet: migrate makes it
            "LIKENESS_S3_PUBLIC_ENDPOINT": stack.seaweedfs.url,
            "LIKENESS_OTLP_ENDPOINT": endpoint,
            "LIKENESS_CONSENT_POLICY": "attestation",
        }
        composed = Composed(servers, tmp_path)
        composed.run("migrate", SERVICES["migrate"]["command"])
        made = json.loads(composed.run("api", ["tenant", "A company"]))
        serve = [str(port) if part == "8000" else part for part in SERVICES["api"]["command"]]
        api_log = opened.enter_context(composed.running("api", *serve))
        opened.enter_context(composed.running("background"))
        shown = {"LIKENESS_METRICS_PORT": metrics, "LIKENESS_METRICS_HOST": "127.0.0.1"}
        worker_log = opened.enter_context(composed.running("worker-cpu", **shown))
        url = f"http://127.0.0.1:{port}"
        until(lambda: get(f"{url}/readyz"), "the API is ready")
        with Client(url, made["api_key"]) as client:
            upload = client.upload(no_video)
            identity = client.create_identity(upload, consent_attested=True, profile="draft")
            job = until(lambda: (j := client.job(identity.job)).error and j, "the job is refused")
        assert (job.state, job.error.code) == ("rejected", "not_a_video")

        stage = until(lambda: [s for n, s in spans if (n, s.name[:6]) == ("likeness-worker", "stage ")], "its span")[0]
        asked = until(
            lambda: [s for n, s in spans if n == "likeness-api" and s.trace_id == stage.trace_id], "the request's span"
        )[0]
        assert stage.parent_span_id == asked.span_id
        told = {item.key: item.value.string_value for item in stage.attributes}
        assert (told["likeness.job"], told["likeness.tenant"]) == (identity.job, made["tenant"])

        counted = until(lambda: get(f"http://127.0.0.1:{metrics}/metrics"), "the worker's metrics")
        assert 'likeness_worker_stage_seconds_count{outcome="rejected",stage="intake"} 1.0' in counted
        assert 'likeness_jobs{kind="adapt",state="rejected"} 1.0' in get(f"{url}/metrics")
        for service in ("background", "worker-cpu"):
            composed.run(service, SERVICES[service]["healthcheck"]["test"][2:])

    lines = [json.loads(line) for line in worker_log.read_text().splitlines() if line.startswith("{")]
    line = next(line for line in lines if line["event"] == "stage started")
    asking = next(json.loads(text) for text in api_log.read_text().splitlines() if '"route": "/v1/identities"' in text)
    assert line["request"] == asking["request"]
    assert (line["job"], line["tenant"], line["attempt"]) == (identity.job, made["tenant"], 1)


def test_keda_asks_what_the_database_can_answer(new_database: Callable[[], str]) -> None:
    url = new_database()
    database = Database(url)
    database.migrate()
    with database.write() as session:
        tenant = create_tenant(session, "A company")
        for _ in range(3):
            submit(session, tenant_id=tenant, kind=JobKind.ADAPT, subject_id="idt_1", inputs={}, max_attempts=3)
    database.close()
    first = STAGES[JobKind.ADAPT][0].queue
    asked = 0
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        for _, document in manifests():
            if document["kind"] != "ScaledObject":
                continue
            (trigger,) = document["spec"]["triggers"]
            row = connection.execute(trigger["metadata"]["query"]).fetchone()
            assert row is not None
            queue = document["metadata"]["name"].removeprefix("likeness-worker-")
            assert row[0] == (3 if queue == first else 0), queue
            asked += 1
    assert asked == 3


def test_the_runbooks_queries_fit_the_schema(new_database: Callable[[], str]) -> None:
    url = new_database()
    database = Database(url)
    database.migrate()
    database.close()
    text = (ROOT / "docs" / "operations.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", text, re.S) + re.findall(r"`(SELECT [^`]*;)`", text)
    assert len(queries) == 3
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        for query in queries:
            connection.execute(query)
