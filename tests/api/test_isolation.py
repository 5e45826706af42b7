"""A key opens its own tenant's things, and nothing else; and a creation is done once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from api.bootstrap import first_key, open_platform
from core.accounts.keys import Scope
from core.settings import load_settings

BODIES = {
    "/v1/uploads": {"filename": "a.mp4", "size": 1, "sha256": "0" * 64},
    "/v1/consents": {"subject": "Ada", "purpose": "tests"},
    "/v1/consents/{consent_id}/evidence": {"upload": "{upload_id}"},
    "/v1/consents/{consent_id}/decision": {"verdict": "verified"},
    "/v1/consents/{consent_id}/revoke": {},
    "/v1/identities": {"upload": "{upload_id}", "consent": "{consent_id}"},
    "/v1/umfs": {"name": "theirs", "uploads": ["{upload_id}"], "consent_attested": True},
    "/v1/renders": {"identity": "{identity_id}", "upload": "{upload_id}"},
    "/v1/render-batches": {"items": [{"identity": "{identity_id}", "upload": "{upload_id}"}]},
    "/v1/webhook-endpoints": {"url": "https://example.com/hook"},
    "/v1/webhook-endpoints/{endpoint_id}": {"enabled": False},
    "/v1/keys": {"name": "another"},
}
"""A good body for each route that wants one, with the ids of the first tenant."""
OPEN = {"/v1/healthz", "/v1/readyz", "/v1/metrics"}


@pytest.fixture
def ids(api: Any, tmp_path: Path) -> dict[str, str]:
    """One of everything, of the first tenant."""
    made = api.identity()
    clip = api.upload(b"clip", "ada.mp4")
    umf = api.http.post("/v1/umfs", json={"name": "ours", "uploads": [clip], "consent_attested": True}).json()
    api.run(tmp_path)
    item = {"identity": made["identity"]["id"], "upload": api.upload(b"speech", "a.wav")}
    batch = api.http.post("/v1/render-batches", json={"items": [item]}).json()
    endpoint = api.http.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"}).json()
    return {
        "upload_id": made["identity"]["upload"],
        "consent_id": made["identity"]["consent"],
        "identity_id": made["identity"]["id"],
        "umf_id": umf["umf"]["id"],
        "render_id": batch["items"][0]["render"]["id"],
        "batch_id": batch["id"],
        "job_id": made["job"]["id"],
        "endpoint_id": endpoint["id"],
        "delivery_id": api.http.post(f"/v1/webhook-endpoints/{endpoint['id']}/test").json()["id"],
        "key_id": api.http.post("/v1/keys", json={"name": "second"}).json()["id"],
    }


def routes(api: Any) -> list[tuple[str, str]]:
    """(method, path) of every route that the OpenAPI shows and that wants a key."""
    paths = api.http.get("/openapi.json").json()["paths"]
    return [(method, path) for path, methods in paths.items() if path not in OPEN for method in methods]


def call(http: Any, method: str, path: str, ids: dict[str, str]) -> Any:
    body = BODIES.get(path) if method in ("post", "patch") else None
    filled = json.loads(re.sub(r"{(\w+_id)}", lambda name: ids[name[1]], json.dumps(body)))
    return http.request(method, path.format(**ids), json=filled, headers={"Last-Event-ID": "0"})


def test_every_route_is_closed_to_another_tenant(api: Any, stranger: Any, refused: Any, ids: dict[str, str]) -> None:
    """With another tenant's ids in the path or in the body every route answers 404; lists are empty."""
    before = snapshot(api)
    walked = 0
    for method, path in routes(api):
        answer = call(stranger.http, method, path, ids)
        names_an_id = "{" in path or ("_id}" in json.dumps(BODIES.get(path, "")) and method == "post")
        if path == "/v1/render-batches":
            assert (answer.status_code, refused(answer)) == (422, "batch_refused")
            assert "not_found" in answer.json()["detail"]
        elif names_an_id:
            assert (answer.status_code, refused(answer)) == (404, "not_found"), (method, path)
        else:
            assert answer.is_success, (method, path, answer.text)
        walked += names_an_id
    assert walked >= 30
    assert snapshot(api) == before
    for listing in ("identities", "renders", "jobs", "deliveries"):
        assert stranger.http.get(f"/v1/{listing}").json()["items"] == [], listing


def snapshot(api: Any) -> dict[str, Any]:
    """What the first tenant has: a stranger's calls leave all of it as it is."""
    seen = {path: api.http.get(f"/v1/{path}").json() for path in ("identities", "renders", "jobs", "consents", "audit")}
    return {**seen, "endpoints": api.http.get("/v1/webhook-endpoints").json(), "umfs": api.http.get("/v1/umfs").json()}


def test_every_route_is_closed_without_a_key(api: Any, refused: Any, ids: dict[str, str]) -> None:
    del api.http.headers["Authorization"]
    for method, path in routes(api):
        answer = call(api.http, method, path, ids)
        assert (answer.status_code, refused(answer)) == (401, "unauthorized"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_every_route_is_closed_to_a_key_without_its_scope(api: Any, refused: Any, ids: dict[str, str]) -> None:
    """No scope but the right one opens a route: a key with all of them opens it, each other one alone does not."""
    keys = {scope: api.http.post("/v1/keys", json={"name": scope, "scopes": [scope]}).json()["key"] for scope in Scope}
    for method, path in routes(api):
        opened = []
        for scope, key in keys.items():
            api.http.headers["Authorization"] = f"Bearer {key}"
            # Nothing is changed: the ids are nobody's.
            answer = call(api.http, method, path, {name: f"{id_[:4]}{'0' * 32}" for name, id_ in ids.items()})
            if answer.status_code != 403:
                opened.append(scope)
            else:
                assert refused(answer) == "scope_missing"
        assert len(opened) == 1, (method, path, opened)


def test_another_tenants_ids_do_not_work_inside_a_body(api: Any, stranger: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]
    api.run(tmp_path)
    body = {"upload": identity["upload"], "consent": stranger.consent()}
    assert refused(stranger.http.post("/v1/identities", json=body)) == "not_found"
    body = {"identity": identity["id"], "upload": stranger.upload(b"speech", "a.wav")}
    assert refused(stranger.http.post("/v1/renders", json=body)) == "not_found"


@pytest.mark.parametrize("header", ["Bearer", "Bearer lk_wrong", "Basic abc", "Bearer " + "lk_" + "0" * 46])
def test_a_bad_key_opens_nothing(api: Any, refused: Any, header: str) -> None:
    answer = api.http.get("/v1/jobs", headers={"Authorization": header})
    assert (answer.status_code, refused(answer)) == (401, "unauthorized")


def test_a_repeated_post_with_the_same_key_creates_once(api: Any, refused: Any) -> None:
    body = {"upload": api.upload(), "consent": api.consent()}
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
    body = {"upload": "upl_" + "0" * 32, "consent": api.consent()}
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
