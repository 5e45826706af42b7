"""An S3 server that answers 503 and cuts connections: nothing is lost, doubled or damaged, and patience ends."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services import Servers, free_port
from core.settings import Settings, load_settings
from core.storage import ObjectExistsError, StorageUnavailableError, open_store
from tests.stack.unreliable_proxy import UnreliableProxy, unreliable_proxy


@pytest.fixture
def proxy(stack: Servers) -> Iterator[UnreliableProxy]:
    with unreliable_proxy(stack.seaweedfs.url, seed=7) as running:
        yield running


@pytest.fixture
def settings(stack: Servers, proxy: UnreliableProxy) -> Settings:
    return load_settings(
        s3_bucket=stack.seaweedfs.bucket,
        s3_endpoint=proxy.url,
        s3_access_key=stack.seaweedfs.access_key,
        s3_secret_key=stack.seaweedfs.secret,
    )


def test_objects_go_and_come_through_errors_and_cuts(
    settings: Settings, proxy: UnreliableProxy, tmp_path: Path
) -> None:
    store = open_store(settings)
    source = tmp_path / "source"
    proxy.busy, proxy.cut = 0.25, 0.25
    for number in range(5):
        source.write_bytes(os.urandom(1_000_000))
        put = store.put(f"ten_1/unreliable/{number}", source)
        assert put.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
        assert store.fetch(put.key, tmp_path / "back") == put
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        source.write_bytes(b"another")
        with pytest.raises(ObjectExistsError):
            store.put(put.key, source)
    assert len(list(store.objects("ten_1/unreliable/"))) == 5
    assert all(proxy.done[fate] >= 1 for fate in ("503", "cut request", "cut answer"))


def test_a_broken_download_goes_on_where_it_broke(settings: Settings, proxy: UnreliableProxy, tmp_path: Path) -> None:
    store = open_store(settings)
    (tmp_path / "source").write_bytes(os.urandom(4_000_000))
    put = store.put("ten_1/broken/download", tmp_path / "source")
    sent: list[str] = []
    plan = iter(["passed", "cut answer", "cut answer", "cut answer", "passed"])  # HEAD, then four GETs

    def fate() -> str:
        sent.append(next(plan))
        return sent[-1]

    proxy.fate = fate  # type: ignore[method-assign]
    assert store.fetch(put.key, tmp_path / "back") == put
    assert len(sent) == 5


def test_patience_ends_with_a_typed_error(settings: Settings, proxy: UnreliableProxy, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    proxy.busy = 1.0
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError) as away:
        open_store(settings, patience_s=1.5).put("ten_1/never", tmp_path / "source")
    assert time.monotonic() - began < 10
    assert (away.value.code, away.value.retryable) == ("storage_unavailable", True)
    nobody = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StorageUnavailableError):
        open_store(nobody, patience_s=1.0).stat("ten_1/never")
