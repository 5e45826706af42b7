"""Load on a running server: polls of a job's state, open event streams, and a long list of waiting jobs.

    python -m tests.api.load --url http://127.0.0.1:8000 --key lk_... [--polls 300] [--seconds 30] [--streams 500]
                             [--jobs 1000]

Without --url it starts a server of its own, as a process, on SQLite in a temporary folder (LIKENESS_DATABASE_URL names
another database). The server must have no worker: the jobs stay queued, and are cancelled at the end. Prints one JSON
object. Client and server share the machine, so the client is plain asyncio over sockets: it must cost little itself.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

SERVER = """
import sys, uvicorn
from api.app import create_app
from api.bootstrap import collect_rarely, first_key, open_platform
from core.settings import load_settings
from workers.logs import configure_logs
import logging

configure_logs(sys.stderr, logging.INFO)
platform = open_platform(load_settings())
web = create_app(platform)
print(first_key(platform), flush=True)
collect_rarely()
uvicorn.run(web, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False,
            lifespan="off", backlog=2048)
"""
CONNECTIONS = 32
WARM_UP_SECONDS = 4.0
"""At a lower rate, before polls are measured."""
EVENT_WAIT_SECONDS = 30.0


class Caller:
    """Blocking calls, for what is not measured."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    def __call__(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        content = json.dumps(body).encode() if body is not None else data
        kind = "application/json" if body is not None else "application/octet-stream"
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def make_jobs(call: Caller, count: int) -> list[str]:
    """So many queued jobs."""
    content = b"load"
    made = call("POST", "/v1/uploads", {"filename": "a.mp4", "size": 4, "sha256": hashlib.sha256(content).hexdigest()})
    target = urllib.request.Request(
        call.url + made["put"]["url"] if made["put"]["url"].startswith("/") else made["put"]["url"],
        content,
        made["put"]["headers"],
        method="PUT",
    )
    urllib.request.urlopen(target, timeout=60).close()
    call("POST", f"/v1/uploads/{made['id']}/complete")
    consent = call("POST", "/v1/consents", {"subject": "load", "purpose": "load", "attested": True})["id"]
    body = {"upload": made["id"], "consent": consent, "metadata": {"made-by": "load"}}
    return [call("POST", "/v1/identities", body)["job"]["id"] for _ in range(count)]


class Line:
    """One kept-alive connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._key = key

    async def open(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def get(self, path: str) -> tuple[int, bytes]:
        request = f"GET {path} HTTP/1.1\r\nHost: {self._address[0]}\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        self._writer.write(request.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        return int(head[9:12]), await self._reader.readexactly(length)

    async def stream(self, path: str) -> bytes:
        """Open an event stream; returns once its first event is here."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self._address[0]}\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        self._writer.write(request.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], head
        await self._reader.readuntil(b"data: ")
        return await self._reader.readuntil(b"\n\n")

    async def next_event(self) -> None:
        await self._reader.readuntil(b"data: ")

    def close(self) -> None:
        self._writer.close()


async def poll(url: str, key: str, jobs: list[str], per_second: float, seconds: float) -> dict[str, Any]:
    """Ask for jobs at a steady rate; a call that is late counts from when it was due."""
    lines = [await Line(url, key).open() for _ in range(CONNECTIONS)]
    free: asyncio.Queue[Line] = asyncio.Queue()
    for line in lines:
        free.put_nowait(line)
    times: list[float] = []
    bad = 0

    async def one(due: float, job: str) -> None:
        nonlocal bad
        line = await free.get()
        status, _ = await line.get(f"/v1/jobs/{job}")
        free.put_nowait(line)
        times.append((time.perf_counter() - due) * 1000)
        bad += status != 200

    began = time.perf_counter()
    tasks = []
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due, jobs[number % len(jobs)])))
    await asyncio.gather(*tasks)
    took = time.perf_counter() - began
    for line in lines:
        line.close()
    return {
        "asked_per_second": per_second,
        "answered_per_second": round(len(times) / took, 1),
        "bad": bad,
        **_quantiles(times),
    }


async def hold_streams(url: str, key: str, call: Caller, job: str, count: int) -> dict[str, Any]:
    """Open so many streams of one job, cancel it, and see when each has heard of it."""
    lines = [Line(url, key) for _ in range(count)]
    began = time.perf_counter()

    async def begin(line: Line) -> None:
        await line.open()
        await line.stream(f"/v1/jobs/{job}/events")

    for start in range(0, count, 50):
        await asyncio.gather(*(begin(line) for line in lines[start : start + 50]))
    opened = time.perf_counter() - began
    heard: list[float] = []

    async def hear(line: Line, since: float) -> None:
        await line.next_event()
        heard.append((time.perf_counter() - since) * 1000)

    asked = time.perf_counter()
    cancelling = asyncio.to_thread(call, "POST", f"/v1/jobs/{job}/cancel")
    await asyncio.wait_for(asyncio.gather(cancelling, *(hear(line, asked) for line in lines)), EVENT_WAIT_SECONDS)
    for line in lines:
        line.close()
    return {"open": count, "opened_in_s": round(opened, 2), "heard": len(heard), **_quantiles(heard)}


async def page(url: str, key: str, limit: int) -> dict[str, Any]:
    """Walk the whole list of queued jobs."""
    line = await Line(url, key).open()
    times: list[float] = []
    found, cursor = 0, ""
    while True:
        began = time.perf_counter()
        status, body = await line.get(f"/v1/jobs?state=queued&limit={limit}{cursor}")
        times.append((time.perf_counter() - began) * 1000)
        assert status == 200, body
        answer = json.loads(body)
        found += len(answer["items"])
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    line.close()
    return {"jobs": found, "pages": len(times), "limit": limit, **_quantiles(times)}


def _quantiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    last = len(ordered) - 1
    return {
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[min(last, int(0.99 * len(ordered)))], 1),
        "max_ms": round(ordered[last], 1),
    }


@contextmanager
def own_server(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(address, key, process id) of a server without a worker."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"LIKENESS_DATA_DIR": str(folder), **os.environ, "LIKENESS_RATE_WRITES_PER_MINUTE": "0"}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        assert process.stdout is not None
        key = process.stdout.readline().strip()
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < until, "the server did not start"
                time.sleep(0.1)
        yield url, key, process.pid
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def run(url: str, key: str, pid: int | None, wanted: argparse.Namespace) -> dict[str, Any]:
    """All three loads, one after the other."""
    call = Caller(url, key)
    server = psutil.Process(pid) if pid is not None else None
    began = time.perf_counter()
    jobs = make_jobs(call, wanted.jobs)
    report: dict[str, Any] = {"made": {"jobs": len(jobs), "seconds": round(time.perf_counter() - began, 1)}}
    report["list"] = [asyncio.run(page(url, key, limit)) for limit in (20, 100)]
    asyncio.run(poll(url, key, jobs[:50], min(50.0, wanted.polls), WARM_UP_SECONDS))
    busy = sum(server.cpu_times()[:2]) if server else 0.0
    report["polls"] = asyncio.run(poll(url, key, jobs[:50], wanted.polls, wanted.seconds))
    if server is not None:
        spent = sum(server.cpu_times()[:2]) - busy
        report["polls"]["server_cpu_ms_each"] = round(1000 * spent / (wanted.polls * wanted.seconds), 2)
    report["streams"] = asyncio.run(hold_streams(url, key, call, jobs.pop(), wanted.streams))
    if server is not None:
        report["server_rss_mb"] = round(server.memory_info().rss / 2**20)
    for job in jobs if wanted.tidy else ():
        call("POST", f"/v1/jobs/{job}/cancel")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--key", default=os.environ.get("LIKENESS_API_KEY", ""))
    parser.add_argument("--polls", type=float, default=300.0, help="a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1000)
    wanted = parser.parse_args()
    wanted.tidy = wanted.url is not None
    if wanted.url:
        report = run(wanted.url.rstrip("/"), wanted.key, None, wanted)
    else:
        with tempfile.TemporaryDirectory() as folder, own_server(Path(folder)) as (url, key, pid):
            report = run(url, key, pid, wanted)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
