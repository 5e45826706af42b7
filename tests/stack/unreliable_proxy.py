"""A real HTTP server in front of an S3 server that misbehaves: answers 503, and cuts connections in the middle."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CHUNK = 1 << 16


class UnreliableProxy:
    """Passes requests on to `target`; of those in `methods`, it spoils the given shares. Counts what it did."""

    def __init__(self, target: str, seed: int = 0) -> None:
        address = urlsplit(target)
        self.target = (str(address.hostname), int(address.port or 80))
        self.busy = 0.0
        """Share of requests answered 503."""
        self.cut = 0.0
        """Share of requests whose connection is cut, half of them while the request comes, half in the answer."""
        self.done: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.url = ""

    def fate(self) -> str:
        with self._lock:
            drawn = self._chance.random()
            fate = "passed"
            if drawn < self.busy:
                fate = "503"
            elif drawn < self.busy + self.cut:
                fate = "cut request" if self._chance.random() < 0.5 else "cut answer"
            self.done[fate] += 1
            return fate


@contextmanager
def unreliable_proxy(target: str, seed: int = 0) -> Iterator[UnreliableProxy]:
    """Run a proxy inside the block; it behaves well until it is told otherwise."""
    proxy = UnreliableProxy(target, seed)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle_request(self) -> None:
            fate = proxy.fate()
            length = int(self.headers.get("Content-Length") or 0)
            if fate == "cut request":
                self.rfile.read(length // 2)
                self._hang_up()
                return
            body = self.rfile.read(length)
            if fate == "503":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._pass_on(body, cut=fate == "cut answer")

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815 - the names that http.server calls

        def _pass_on(self, body: bytes, *, cut: bool) -> None:
            upstream = http.client.HTTPConnection(*proxy.target, timeout=30)
            # The Host header is signed: it goes on as it came.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            if cut:
                self.wfile.write(content[: len(content) // 2])
                self._hang_up()
                return
            self.wfile.write(content)

        def _hang_up(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] - callers that hang up are the point
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
