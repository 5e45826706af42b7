"""`likeness stack`: starts the servers, keeps their data, and leaves nothing running, however it ends."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.workers.running_platform import wait_for

LIKENESS = Path(sys.executable).with_name("likeness")


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="likeness-stack-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    command = [LIKENESS, "stack", "--data", folder / "stack", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = b""
    while not told.rstrip().endswith(b"}"):
        line = process.stdout.readline()
        assert line, "it ended before it told its settings"
        told += line
    return process, json.loads(told)


def ports(settings: dict[str, str]) -> list[int]:
    names = ("LIKENESS_DATABASE_URL", "LIKENESS_BROKER_URL", "LIKENESS_S3_ENDPOINT")
    return [int(make_url(settings[name]).port or 0) for name in names]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def execute(settings: dict[str, str], statement: str) -> list[int]:
    engine = create_engine(settings["LIKENESS_DATABASE_URL"])
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        found = list(result.scalars()) if result.returns_rows else []
    engine.dispose()
    return found


def test_it_is_killed_and_started_again_with_its_data_and_stopped(folder: Path) -> None:
    process, settings = start(folder)
    execute(settings, "CREATE TABLE kept AS SELECT 7 AS number")
    assert all(listens(port) for port in ports(settings))
    process.kill()
    process.wait()
    wait_for(lambda: not any(listens(port) for port in ports(settings)), "the servers to end with their owner")

    process, again = start(folder)
    assert execute(again, "SELECT number FROM kept") == [7]
    written = (folder / "stack" / "stack.env").read_text()
    assert f"LIKENESS_S3_ENDPOINT='{again['LIKENESS_S3_ENDPOINT']}'" in written
    assert (folder / "stack" / "stack.env").stat().st_mode & 0o077 == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not any(listens(port) for port in ports(again))
