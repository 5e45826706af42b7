"""The local store keeps objects whole and unchanged."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from core.storage import LocalStore, ObjectExistsError, ObjectMissingError, check_key
from core.storage.local import DamagedObjectError

KEY = "ten_1/identities/idt_1/a1/avatar.likeness"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"a head" * 100_000)
    return path


def test_an_object_comes_back_as_it_was(store: LocalStore, source: Path, tmp_path: Path) -> None:
    put = store.put(KEY, source)
    assert (put.size, put.sha256) == (600_000, hashlib.sha256(source.read_bytes()).hexdigest())
    assert store.fetch(KEY, tmp_path / "back") == put == store.stat(KEY)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_object_is_never_overwritten(store: LocalStore, source: Path, tmp_path: Path) -> None:
    first = store.put(KEY, source)
    other = tmp_path / "other"
    other.write_bytes(b"another head")
    with pytest.raises(ObjectExistsError):
        store.put(KEY, other)
    assert store.stat(KEY) == first


def test_of_many_puts_at_once_one_wins_and_its_sum_stays(store: LocalStore, tmp_path: Path) -> None:
    results: list[str] = []
    start = threading.Barrier(6)

    def put(number: int) -> None:
        source = tmp_path / f"source-{number}"
        source.write_bytes(bytes([number]) * 200_000)
        start.wait()
        try:
            results.append(store.put(KEY, source).sha256)
        except ObjectExistsError:
            results.append("exists")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if result != "exists"]
    assert len(results) == 6
    assert len(winners) == 1
    assert store.fetch(KEY, tmp_path / "back").sha256 == winners[0]


def test_a_change_of_the_source_does_not_reach_the_object(store: LocalStore, source: Path) -> None:
    put = store.put(KEY, source)
    source.write_bytes(b"changed")
    path = store.local_path(KEY)
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == put.sha256


def test_a_damaged_object_is_not_handed_out(store: LocalStore, source: Path, tmp_path: Path) -> None:
    store.put(KEY, source)
    path = store.local_path(KEY)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"b" + path.read_bytes()[1:])
    with pytest.raises(DamagedObjectError):
        store.fetch(KEY, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_sum_lost_in_a_crash_is_made_again(store: LocalStore, source: Path) -> None:
    put = store.put(KEY, source)
    (sum_file,) = store.root.rglob("*.sha256")
    sum_file.unlink()
    assert store.stat(KEY) == put


def test_nothing_is_left_of_a_put_that_failed(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put(KEY, tmp_path / "absent")
    with pytest.raises(ObjectMissingError):
        store.stat(KEY)
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_delete_and_delete_again(store: LocalStore, source: Path) -> None:
    store.put(KEY, source)
    store.delete(KEY)
    store.delete(KEY)
    assert store.local_path(KEY) is None
    store.put(KEY, source)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "../a", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a b"])
def test_a_key_never_leaves_the_store(key: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        check_key(key)
