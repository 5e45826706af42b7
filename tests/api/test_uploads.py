"""Uploads: only the announced bytes are stored."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from core.jobs.tables import Upload

CONTENT = b"0123456789" * 100
LARGE = bytes(range(250)) * 40
"""More than one part of the test's platform (4096 bytes)."""
BODY = {
    "filename": "clip.mp4",
    "content_type": "video/mp4",
    "size": 1000,
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
}


def test_create_put_complete(api: Any) -> None:
    made = api.http.post("/v1/uploads", json=BODY)
    assert made.status_code == 201
    assert made.json()["state"] == "awaiting"
    assert made.json()["parts"] == []
    target = made.json()["put"]
    for _ in range(2):  # sent twice is the same as once
        sent = api.http.put(target["url"], content=iter([CONTENT[:300], CONTENT[300:]]), headers=target["headers"])
        assert sent.status_code == 200
    for _ in range(2):  # completing twice is the same as once
        done = api.http.post(f"/v1/uploads/{made.json()['id']}/complete").json()
        assert (done["state"], done["put"]) == ("complete", None)


def test_the_target_of_an_upload_needs_no_key(api: Any) -> None:
    made = api.http.post("/v1/uploads", json=BODY).json()
    api.http.headers.pop("Authorization")
    assert api.http.put(made["put"]["url"], content=CONTENT).status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (CONTENT[:-1], "upload_size_mismatch"),
        (CONTENT + b"x", "upload_size_mismatch"),
        (CONTENT[:-1] + b"x", "upload_hash_mismatch"),
        (b"", "upload_size_mismatch"),
    ],
)
def test_other_bytes_are_refused_and_the_right_ones_can_follow(api: Any, refused: Any, sent: bytes, code: str) -> None:
    made = api.http.post("/v1/uploads", json=BODY).json()
    answer = api.http.put(made["put"]["url"], content=sent)
    assert (answer.status_code, refused(answer)) == (422, code)
    objects = api.platform.settings.objects_dir / "data"
    assert not [path for path in objects.rglob("*") if path.is_file()]
    assert not list((api.platform.settings.objects_dir / "partial").iterdir())
    early = api.http.post(f"/v1/uploads/{made['id']}/complete")
    assert (early.status_code, refused(early)) == (409, "upload_incomplete")
    assert api.http.put(made["put"]["url"], content=CONTENT).status_code == 200


def test_too_large_is_refused_before_it_is_sent(api: Any, refused: Any) -> None:
    answer = api.http.post("/v1/uploads", json={**BODY, "size": 10_001})
    assert (answer.status_code, refused(answer)) == (413, "upload_too_large")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("size=1000", "size=1001"),
        lambda url: url.replace("/uploads/", "/renders/"),
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url.split("?")[0],
    ],
)
def test_a_changed_target_is_refused(api: Any, refused: Any, change: Any) -> None:
    url = api.http.post("/v1/uploads", json=BODY).json()["put"]["url"]
    answer = api.http.put(change(url), content=CONTENT)
    assert (answer.status_code, refused(answer)) == (403, "link_refused")


def test_a_target_for_sending_is_none_for_reading(api: Any, refused: Any) -> None:
    url = api.http.post("/v1/uploads", json=BODY).json()["put"]["url"]
    assert refused(api.http.get(url)) == "link_refused"


def test_a_target_ends(api: Any, refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = api.http.post("/v1/uploads", json=BODY).json()["put"]["url"]
    now = time.time()
    monkeypatch.setattr("core.storage.signed_links.time.time", lambda: now + 3601)
    assert refused(api.http.put(url, content=CONTENT)) == "link_refused"


@pytest.fixture
def in_parts(api: Any) -> dict[str, Any]:
    """An upload of three parts: 4096, 4096 and 1808 bytes."""
    body = {**BODY, "size": len(LARGE), "sha256": hashlib.sha256(LARGE).hexdigest()}
    made = api.http.post("/v1/uploads", json=body).json()
    assert made["put"] is None
    assert [(part["offset"], part["size"]) for part in made["parts"]] == [(0, 4096), (4096, 4096), (8192, 1808)]
    return dict(made)


def send(api: Any, part: dict[str, Any], content: bytes = LARGE) -> Any:
    return api.http.put(part["url"], content=content[part["offset"] : part["offset"] + part["size"]])


def test_a_large_file_comes_in_parts_in_any_order(api: Any, refused: Any, in_parts: dict[str, Any]) -> None:
    first, second, third = in_parts["parts"]
    assert send(api, third).status_code == 200
    assert send(api, first).status_code == 200
    assert refused(api.http.post(f"/v1/uploads/{in_parts['id']}/complete")) == "upload_incomplete"
    seen = api.http.get(f"/v1/uploads/{in_parts['id']}").json()
    assert [part["stored"] for part in seen["parts"]] == [True, False, True]
    send(api, second)
    for _ in range(2):
        assert api.http.post(f"/v1/uploads/{in_parts['id']}/complete").json()["state"] == "complete"
    with api.platform.database.read() as session:
        stored = api.platform.store.stat(session.get_one(Upload, in_parts["id"]).object_key)
    assert (stored.size, stored.sha256) == (len(LARGE), in_parts["sha256"])


def test_parts_of_another_file_are_dropped_and_the_right_ones_can_follow(
    api: Any, refused: Any, in_parts: dict[str, Any]
) -> None:
    for part in in_parts["parts"]:
        send(api, part, b"x" + LARGE[1:])
    answer = api.http.post(f"/v1/uploads/{in_parts['id']}/complete")
    assert (answer.status_code, refused(answer)) == (422, "upload_hash_mismatch")
    again = api.http.get(f"/v1/uploads/{in_parts['id']}").json()
    assert not any(part["stored"] for part in again["parts"])
    for part in again["parts"]:
        send(api, part)
    assert api.http.post(f"/v1/uploads/{in_parts['id']}/complete").json()["state"] == "complete"


def test_a_part_of_another_size_is_refused(api: Any, refused: Any, in_parts: dict[str, Any]) -> None:
    answer = api.http.put(in_parts["parts"][0]["url"], content=LARGE[:4095])
    assert (answer.status_code, refused(answer)) == (422, "upload_size_mismatch")


def test_an_empty_file_can_be_announced(api: Any) -> None:
    """The job must be able to say what is wrong with it."""
    assert api.http.get(f"/v1/uploads/{api.upload(b'')}").json()["state"] == "complete"


@pytest.mark.parametrize(
    "change", [{"size": -1}, {"sha256": "abc"}, {"filename": ""}, {"content_type": "text/html"}, {"sha256": "G" * 64}]
)
def test_malformed_announcements_are_refused(api: Any, refused: Any, change: dict[str, Any]) -> None:
    answer = api.http.post("/v1/uploads", json={**BODY, **change})
    assert (answer.status_code, refused(answer)) == (422, "invalid_request")
    assert answer.json()["errors"][0]["where"] == ["body", next(iter(change))]


def test_a_file_name_is_only_a_name(api: Any) -> None:
    upload = api.http.post("/v1/uploads", json={**BODY, "filename": "../../etc/pass\\wd.mp4"}).json()
    assert upload["filename"] == "wd.mp4"
