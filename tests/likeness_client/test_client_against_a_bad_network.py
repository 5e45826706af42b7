"""The client against a server that breaks off, is busy, or sends damaged bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from likeness_client import ApiProblemError, Client, ClientError, ServerUnreachableError

IDENTITY = {"id": "idt_1", "name": "me", "state": "ready", "profile": "draft", "job": "job_1"}
GOOD = b"a whole bundle"


class BadServer(ThreadingHTTPServer):
    """Answers what a test tells it to, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[int | str] = []
        """For the next requests: a status, or `break` for a connection that is closed without an answer."""
        self.bundle = GOOD
        self.asked: list[tuple[str, str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: BadServer

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
        fault = self.server.faults.pop(0) if self.server.faults else 200
        if fault == "break":
            self.close_connection = True
            return
        if fault != 200:
            problem = {"code": "busy", "detail": "Busy.", "hint": "Wait.", "retryable": True, "request_id": "req_1"}
            self.send(int(fault), json.dumps(problem).encode())
        elif self.path.endswith("/bundle"):
            self.send(200, self.server.bundle)
        else:
            file = {"url": "", "size": len(GOOD), "sha256": hashlib.sha256(GOOD).hexdigest()}
            whole = {**IDENTITY, "bundle": file}
            self.send(200, json.dumps({"identity": whole} if self.command == "POST" else whole).encode())

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server wants

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    monkeypatch.setattr("likeness_client.connection.FIRST_PAUSE_SECONDS", 0.01)
    with BadServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def client(server: BadServer) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{server.server_port}", "key") as opened:
        yield opened


def test_a_creation_whose_answer_was_lost_is_repeated_under_the_same_key(server: BadServer, client: Client) -> None:
    server.faults = ["break", 503]
    assert client.create_identity("upl_1", consent="con_1").id == "idt_1"
    keys = [key for _, _, key in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]
    client.create_identity("upl_1", consent="con_1")
    assert server.asked[-1][2] != keys[0]


def test_it_gives_up_after_some_tries(server: BadServer, client: Client) -> None:
    server.faults = ["break"] * 5
    with pytest.raises(ServerUnreachableError):
        client.identity("idt_1")
    server.faults = [503] * 5
    with pytest.raises(ApiProblemError) as busy:
        client.identity("idt_1")
    assert (busy.value.status, busy.value.code, busy.value.hint, busy.value.retryable) == (503, "busy", "Wait.", True)


def test_a_request_that_was_refused_is_not_repeated(server: BadServer, client: Client) -> None:
    server.faults = [422]
    with pytest.raises(ApiProblemError):
        client.create_identity("upl_1", consent="con_1")
    assert len(server.asked) == 1


def test_a_damaged_download_leaves_no_file(server: BadServer, client: Client, tmp_path: Path) -> None:
    server.bundle = GOOD[:-1] + b"?"
    with pytest.raises(ClientError, match="sha256"):
        client.download_bundle("idt_1", tmp_path / "me.likeness")
    assert list(tmp_path.iterdir()) == []
    server.bundle = GOOD
    client.download_bundle("idt_1", tmp_path / "me.likeness")
    assert (tmp_path / "me.likeness").read_bytes() == GOOD


def test_the_client_stands_alone() -> None:
    program = (
        "import sys, likeness_client;"
        "print([n for n in sys.modules if n.split('.')[0] in ('core', 'api', 'workers', 'cli', 'torch', 'numpy')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
