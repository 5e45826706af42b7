"""What an object store promises, kept by the local folder and by a real S3 server alike."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.objects.endpoints import router
from api.problems import install
from cli.services import Servers
from core.settings import load_settings
from core.storage import ObjectExistsError, ObjectMissingError, ObjectStore, StorageRefusedError, Target, open_store

CONTENT = bytes(range(256)) * 4096
SUM = hashlib.sha256(CONTENT).hexdigest()
PART = 5 << 20
"""The least that S3 takes for a part that is not the last."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Kind:
    """A store, and how its links are called."""

    store: ObjectStore
    call: Callable[..., httpx.Response]

    def send(self, target: Target, content: bytes) -> int:
        return self.call("PUT", target.url, content=content, headers=target.headers).status_code


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    store = open_store(load_settings(data_dir=tmp_path_factory.mktemp("local")), secret_key="a secret")
    app = FastAPI()
    install(app)
    app.include_router(router, prefix="/v1")
    app.state.platform = SimpleNamespace(store=store)
    with TestClient(app) as http:
        yield Kind(store, http.request)


@pytest.fixture(scope="module")
def s3(stack: Servers) -> Kind:
    settings = load_settings(
        s3_bucket=stack.seaweedfs.bucket,
        s3_endpoint=stack.seaweedfs.url,
        s3_public_endpoint=stack.seaweedfs.url.replace("127.0.0.1", "localhost"),
        s3_access_key=stack.seaweedfs.access_key,
        s3_secret_key=stack.seaweedfs.secret,
    )
    return Kind(open_store(settings), httpx.request)


@pytest.fixture(params=["local", "s3"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.getfixturevalue(request.param)


@pytest.fixture
def key() -> str:
    return f"ten_1/things/{next(_numbers)}/a1/thing"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_an_object_comes_back_as_it_was(kind: Kind, key: str, source: Path, tmp_path: Path) -> None:
    put = kind.store.put(key, source)
    assert (put.key, put.size, put.sha256) == (key, len(CONTENT), SUM)
    assert kind.store.stat(key) == kind.store.verify(key) == put
    assert kind.store.fetch(key, tmp_path / "new" / "back") == put
    assert (tmp_path / "new" / "back").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["back"]


def test_an_empty_object_is_an_object(kind: Kind, key: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    put = kind.store.put(key, tmp_path / "empty")
    assert kind.store.fetch(key, tmp_path / "back") == put == kind.store.verify(key)
    assert put.size == 0


def test_an_object_is_never_overwritten(kind: Kind, key: str, source: Path, tmp_path: Path) -> None:
    first = kind.store.put(key, source)
    (tmp_path / "other").write_bytes(b"other")
    for again in (tmp_path / "other", source):
        with pytest.raises(ObjectExistsError):
            kind.store.put(key, again)
    assert kind.store.verify(key) == first


def test_of_many_puts_at_once_one_wins(kind: Kind, key: str, tmp_path: Path) -> None:
    results: list[str] = []
    start = threading.Barrier(4)

    def put(number: int) -> None:
        path = tmp_path / f"source-{number}"
        path.write_bytes(bytes([number]) * 100_000)
        start.wait()
        try:
            results.append(kind.store.put(key, path).sha256)
        except ObjectExistsError:
            results.append("exists")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    (winner,) = [result for result in results if result != "exists"]
    assert kind.store.fetch(key, tmp_path / "back").sha256 == winner


def test_what_is_not_there_is_missing(kind: Kind, key: str, source: Path, tmp_path: Path) -> None:
    for call in (kind.store.stat, kind.store.verify, lambda key: kind.store.fetch(key, tmp_path / "back")):
        with pytest.raises(ObjectMissingError):
            call(key)
    kind.store.put(key, source)
    for _ in range(2):
        kind.store.delete(key)
    with pytest.raises(ObjectMissingError):
        kind.store.stat(key)
    kind.store.put(key, source)
    assert not (tmp_path / "back").exists()


def test_a_listing_has_sizes_and_ages(kind: Kind, source: Path) -> None:
    prefix = f"ten_2/listing/{next(_numbers)}"
    for name in ("a", "b/c", "b/d"):
        kind.store.put(f"{prefix}/{name}", source)
    found = {one.key.removeprefix(prefix): one for one in kind.store.objects(prefix + "/b")}
    assert set(found) == {"/b/c", "/b/d"}
    assert all(one.size == len(CONTENT) and -2 < one.age_s < 120 for one in found.values())


def test_a_put_target_takes_the_announced_bytes_and_no_others(kind: Kind, key: str, tmp_path: Path) -> None:
    target = kind.store.put_target(key, len(CONTENT), SUM, "video/mp4", seconds=60)
    assert kind.send(target, CONTENT[:-1]) >= 400
    assert kind.send(target, CONTENT[:-1] + b"x") >= 400
    with pytest.raises(ObjectMissingError):
        kind.store.stat(key)
    for _ in range(2):
        assert kind.send(target, CONTENT) == 200
    assert kind.store.verify(key).sha256 == SUM
    assert kind.store.fetch(key, tmp_path / "back").sha256 == SUM


def test_a_target_is_for_its_key_and_its_method_only(kind: Kind, key: str, source: Path) -> None:
    target = kind.store.put_target(key, len(CONTENT), SUM, "video/mp4", seconds=60)
    elsewhere = Target(target.url.replace("/things/", "/thongs/"), target.headers)
    assert kind.send(elsewhere, CONTENT) == 403
    kind.store.put(key, source)
    assert kind.call("GET", target.url, headers=target.headers).status_code == 403
    assert kind.call("DELETE", target.url, headers=target.headers).status_code in (403, 405)


def test_a_link_downloads_without_a_key_under_a_name(kind: Kind, key: str, source: Path) -> None:
    kind.store.put(key, source)
    url = kind.store.get_url(key, "münchen.mp4", "video/mp4", seconds=60)
    answer = kind.call("GET", url)
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "video/mp4"
    assert "m%C3%BCnchen.mp4" in answer.headers["content-disposition"]
    piece = kind.call("GET", url, headers={"Range": "bytes=10-19"})
    assert (piece.status_code, piece.content) == (206, CONTENT[10:20])


def test_an_object_comes_in_parts(kind: Kind, key: str, tmp_path: Path) -> None:
    content = b"first" * (PART // 5) + b"and last"
    upload = kind.store.start_parts(key, hashlib.sha256(content).hexdigest(), "video/mp4")
    pieces = {1: content[:PART], 2: content[PART:]}
    with pytest.raises(ObjectMissingError):
        kind.store.join_parts(key, upload)
    for number in (2, 1, 2):
        target = kind.store.part_target(key, upload, number, len(pieces[number]), seconds=60)
        assert kind.send(target, pieces[number][:-1]) >= 400
        assert kind.send(target, pieces[number]) == 200
    assert kind.store.stored_parts(key, upload) == {1: PART, 2: 8}
    kind.store.join_parts(key, upload)
    assert kind.store.stored_parts(key, upload) == {}
    assert kind.store.verify(key).sha256 == hashlib.sha256(content).hexdigest()
    assert kind.store.fetch(key, tmp_path / "back").size == len(content)


def test_parts_of_another_file_are_found_out(kind: Kind, key: str) -> None:
    upload = kind.store.start_parts(key, SUM, "video/mp4")
    assert kind.send(kind.store.part_target(key, upload, 1, 5, seconds=60), b"other") == 200
    kind.store.join_parts(key, upload)
    assert kind.store.verify(key).sha256 == hashlib.sha256(b"other").hexdigest()


def test_joined_parts_never_overwrite(kind: Kind, key: str, source: Path) -> None:
    upload = kind.store.start_parts(key, SUM, "video/mp4")
    kind.send(kind.store.part_target(key, upload, 1, 5, seconds=60), b"other")
    put = kind.store.put(key, source)
    with pytest.raises(ObjectExistsError):
        kind.store.join_parts(key, upload)
    assert kind.store.verify(key) == put
    kind.store.abort_parts(key, upload)


def test_an_aborted_upload_takes_no_parts(kind: Kind, key: str) -> None:
    upload = kind.store.start_parts(key, SUM, "video/mp4")
    target = kind.store.part_target(key, upload, 1, 5, seconds=60)
    assert kind.send(target, b"bytes") == 200
    for _ in range(2):
        kind.store.abort_parts(key, upload)
    assert kind.send(target, b"bytes") >= 400
    assert kind.store.stored_parts(key, upload) == {}


def test_uploads_in_parts_that_nobody_ends_are_dropped(kind: Kind, key: str) -> None:
    upload = kind.store.start_parts(key, SUM, "video/mp4")
    assert kind.send(kind.store.part_target(key, upload, 1, 5, seconds=60), b"bytes") == 200
    kind.store.drop_leftovers(older_than_s=3600)
    assert kind.store.stored_parts(key, upload) == {1: 5}
    assert kind.store.drop_leftovers(older_than_s=-60) >= 1
    assert kind.store.stored_parts(key, upload) == {}


def test_callers_are_sent_to_the_public_address(s3: Kind, key: str) -> None:
    assert s3.store.put_target(key, 1, SUM, "video/mp4", 60).url.startswith("http://localhost:")
    assert s3.store.get_url(key, "x", "video/mp4", 60).startswith("http://localhost:")


def test_wrong_keys_are_told_apart_from_a_server_that_is_away(stack: Servers, key: str, source: Path) -> None:
    settings = load_settings(
        s3_bucket="likeness", s3_endpoint=stack.seaweedfs.url, s3_access_key="likeness", s3_secret_key="wrong"
    )
    with pytest.raises(StorageRefusedError) as refused:
        open_store(settings).put(key, source)
    assert refused.value.retryable is False
