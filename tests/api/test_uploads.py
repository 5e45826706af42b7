"""Uploads: only the announced bytes are stored."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

CONTENT = b"0123456789" * 100
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
    url = made.json()["put"]["url"]
    assert api.http.put(url, content=iter([CONTENT[:300], CONTENT[300:]])).json()["state"] == "stored"
    for _ in range(2):  # completing twice is the same as once
        done = api.http.post(f"/v1/uploads/{made.json()['id']}/complete").json()
        assert (done["state"], done["put"]) == ("complete", None)


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
    assert not list((api.platform.settings.data_dir / "incoming").iterdir())
    early = api.http.post(f"/v1/uploads/{made['id']}/complete")
    assert (early.status_code, refused(early)) == (409, "upload_incomplete")
    assert api.http.put(made["put"]["url"], content=CONTENT).status_code == 200


def test_too_large_is_refused_before_it_is_sent(api: Any, refused: Any) -> None:
    answer = api.http.post("/v1/uploads", json={**BODY, "size": 10_001})
    assert (answer.status_code, refused(answer)) == (413, "upload_too_large")


def test_stored_bytes_can_not_be_replaced(api: Any, refused: Any) -> None:
    made = api.http.post("/v1/uploads", json=BODY).json()
    api.http.put(made["put"]["url"], content=CONTENT)
    assert refused(api.http.put(made["put"]["url"], content=CONTENT)) == "upload_already_stored"


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
