"""A key opens its own tenant's things, and nothing else; and a creation is done once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from api.bootstrap import first_key, open_platform
from core.settings import load_settings


def test_every_route_with_an_id_answers_404_to_another_tenant(
    api: Any, stranger: Any, refused: Any, tmp_path: Path
) -> None:
    made = api.identity()
    api.run(tmp_path)
    upload = made["identity"]["upload"]
    item = {"identity": made["identity"]["id"], "upload": api.upload(b"speech", "a.wav")}
    batch = api.http.post("/v1/render-batches", json={"items": [item]}).json()
    ids = {
        "upload_id": upload,
        "identity_id": made["identity"]["id"],
        "render_id": batch["renders"][0]["id"],
        "batch_id": batch["id"],
        "job_id": made["job"]["id"],
    }
    tried = 0
    for path, methods in api.http.get("/openapi.json").json()["paths"].items():
        names = re.findall(r"{(\w+)}", path)
        for method in methods if names else ():
            url = path.format(**ids)
            answer = stranger.http.request(method, url, content=b"some bytes" if method == "put" else None)
            assert (answer.status_code, refused(answer)) == (404, "not_found"), (method, path)
            tried += 1
    assert tried >= 13
    for listing in ("identities", "renders", "jobs"):
        assert stranger.http.get(f"/v1/{listing}").json()["items"] == []
        assert api.http.get(f"/v1/{listing}").json()["items"]


def test_another_tenants_ids_do_not_work_inside_a_body(api: Any, stranger: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]
    api.run(tmp_path)
    body = {"upload": identity["upload"], "consent_attested": True}
    assert refused(stranger.http.post("/v1/identities", json=body)) == "not_found"
    body = {"identity": identity["id"], "upload": stranger.upload(b"speech", "a.wav")}
    assert refused(stranger.http.post("/v1/renders", json=body)) == "not_found"


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer lk_wrong", "Basic abc", "Bearer " + "lk_" + "0" * 46])
def test_without_a_good_key_every_route_is_closed(api: Any, refused: Any, header: str | None) -> None:
    del api.http.headers["Authorization"]
    headers = {"Authorization": header} if header else {}
    for path, methods in api.http.get("/openapi.json").json()["paths"].items():
        if path.rsplit("/", 1)[1] in ("healthz", "readyz", "metrics"):
            continue
        url = re.sub(r"{\w+}", "job_" + "0" * 32, path)
        for method in methods:
            answer = api.http.request(method, url, headers=headers, json={} if method == "post" else None)
            assert answer.status_code in (401, 422), (method, path)
            if answer.status_code == 401:
                assert refused(answer) == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
    assert api.http.get("/v1/jobs", headers=headers).status_code == 401


def test_a_repeated_post_with_the_same_key_creates_once(api: Any, refused: Any) -> None:
    body = {"upload": api.upload(), "consent_attested": True}
    headers = {"Idempotency-Key": "abc"}
    first = api.http.post("/v1/identities", json=body, headers=headers)
    second = api.http.post("/v1/identities", json=body, headers=headers)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(api.http.get("/v1/identities").json()["items"]) == 1

    other = api.http.post("/v1/identities", json={**body, "name": "other"}, headers=headers)
    assert (other.status_code, refused(other)) == (422, "idempotency_key_reused")
    assert api.http.post("/v1/identities", json=body).json()["identity"]["id"] != first.json()["identity"]["id"]


def test_a_refused_post_does_not_use_up_its_key(api: Any, refused: Any) -> None:
    headers = {"Idempotency-Key": "abc"}
    body = {"upload": "upl_" + "0" * 32, "consent_attested": True}
    assert refused(api.http.post("/v1/identities", json=body, headers=headers)) == "not_found"
    good = api.http.post("/v1/identities", json={**body, "upload": api.upload()}, headers=headers)
    assert good.status_code == 202


def test_a_key_of_another_tenant_does_not_meet_ours(api: Any, stranger: Any) -> None:
    headers = {"Idempotency-Key": "abc"}
    body = {"filename": "a.mp4", "size": 1, "sha256": "0" * 64}
    ours = api.http.post("/v1/uploads", json=body, headers=headers).json()
    theirs = stranger.http.post("/v1/uploads", json=body, headers=headers).json()
    assert ours["id"] != theirs["id"]


def test_the_first_key_is_kept_privately_and_stays_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = load_settings(data_dir=data)
    keys = []
    for _ in range(2):
        opened = open_platform(settings)
        keys.append(first_key(opened))
        opened.database.close()
    assert keys == [(data / "api-key").read_text().strip()] * 2
    assert (data / "api-key").stat().st_mode & 0o777 == 0o600
    assert (data / "secret").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o077 == 0


def test_a_request_id_is_taken_over_if_it_is_harmless(api: Any) -> None:
    assert api.http.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert api.http.get("/healthz", headers={"X-Request-Id": "<script>"}).headers["x-request-id"].startswith("req_")
