"""The client waits as long as a busy server asks, follows a job by its stream or without one, and checks webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from likeness_client import Client, JobFailedError, WaitTimeoutError

JOB = {
    "id": "job_1",
    "kind": "adapt",
    "subject": "idt_1",
    "state": "running",
    "stage": "adapt-face",
    "progress": 0.5,
    "eta_s": None,
    "queue_position": None,
    "error": None,
    "stages": [],
    "attempts": [],
    "report": None,
}


class SlowServer(ThreadingHTTPServer):
    """One job, which ends when a test says so; its stream may be refused."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = "running"
        self.ended = threading.Event()
        self.streams = True
        self.busy = 0
        self.asked: list[tuple[float, str]] = []

    def end(self, state: str) -> None:
        self.state = state
        self.ended.set()

    def count(self, suffix: str) -> int:
        return sum(path.endswith(suffix) for _, path in self.asked)


class Handler(BaseHTTPRequestHandler):
    server: SlowServer

    def do_GET(self) -> None:
        self.server.asked.append((time.monotonic(), self.path))
        if self.path.endswith("/events"):
            self.stream()
        elif self.server.busy:
            self.server.busy -= 1
            self.answer(429, {"code": "rate_limited"}, {"Retry-After": "1"})
        else:
            self.answer(200, {**JOB, "state": self.server.state})

    def stream(self) -> None:
        if not self.server.streams:
            self.answer(429, {"code": "too_many_streams"})
            return
        self.send_response(200)
        self.end_headers()
        for number in range(1, 200):
            if self.server.ended.wait(0.05):
                break
            self.event(number, "job.progress")
        self.event(999, f"job.{self.server.state}")

    def event(self, number: int, kind: str) -> None:
        self.wfile.write(f"id: {number}\ndata: {json.dumps({'id': number, 'type': kind})}\n\n".encode())
        self.wfile.flush()

    def answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowServer]:
    monkeypatch.setattr("likeness_client.connection.FIRST_PAUSE_SECONDS", 0.01)
    with SlowServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.end("failed")
        running.shutdown()


@pytest.fixture
def client(server: SlowServer) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{server.server_port}", "key") as opened:
        yield opened


def test_it_waits_as_long_as_it_is_asked_to(server: SlowServer, client: Client) -> None:
    server.busy = 2
    began = time.monotonic()
    assert client.job("job_1").state == "running"
    assert time.monotonic() - began >= 2.0
    assert len(server.asked) == 3


def test_a_stream_ends_the_waiting_at_once(server: SlowServer, client: Client) -> None:
    seen: list[str] = []
    threading.Timer(0.5, server.end, ["succeeded"]).start()
    assert client.wait("job_1", on_progress=lambda job: seen.append(job.state), poll_s=3600).state == "succeeded"
    assert server.count("/events") == 1
    assert seen == ["running", "succeeded"]


@pytest.mark.parametrize("streams", [True, False])
def test_progress_is_shown_with_a_stream_and_without_one(server: SlowServer, client: Client, streams: bool) -> None:
    server.streams = streams
    seen: list[str] = []

    def show(job: Any) -> None:
        seen.append(job.state)
        if len(seen) == 5:
            server.end("cancelled")

    with pytest.raises(JobFailedError) as ended:
        client.wait("job_1", on_progress=show, poll_s=0.1)
    assert ended.value.state == "cancelled"
    assert len(seen) >= 5


@pytest.mark.parametrize("streams", [True, False])
def test_it_gives_up_waiting_in_time(server: SlowServer, client: Client, streams: bool) -> None:
    server.streams = streams
    began = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        client.wait("job_1", poll_s=0.1, timeout_s=0.6)
    assert 0.6 <= time.monotonic() - began < 20
