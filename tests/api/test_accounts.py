"""Keys with scopes and an end, quotas, rates, usage, and an audit log that shows what was done to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.accounts import audit
from core.accounts.rates import LocalLimiter, RedisLimiter
from core.accounts.tables import ApiKey, Quota
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind


def tenant_of(api: Any) -> str:
    with api.platform.database.read() as session:
        key = session.get_one(ApiKey, api.http.get("/v1/keys").json()["items"][0]["id"])
        return str(key.tenant_id)


def test_a_key_is_shown_once_and_can_be_revoked(api: Any, refused: Any) -> None:
    made = api.http.post("/v1/keys", json={"name": "laptop", "scopes": ["read"]}).json()
    listed = {key["id"]: key for key in api.http.get("/v1/keys").json()["items"]}
    assert "key" not in listed[made["id"]]
    assert made["key"].startswith(listed[made["id"]]["start"])
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert api.http.get("/v1/jobs", headers=headers).status_code == 200
    denied = api.http.post("/v1/uploads", json={"filename": "a", "size": 1, "sha256": "0" * 64}, headers=headers)
    assert (denied.status_code, refused(denied)) == (403, "scope_missing")
    assert api.http.get("/v1/keys").json()["items"][0]["last_used_at"] is not None
    assert api.http.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert refused(api.http.get("/v1/jobs", headers=headers)) == "unauthorized"  # at once, in this process
    assert refused(api.http.delete(f"/v1/keys/{made['id']}")) == "not_found"


def test_a_key_ends(api: Any, refused: Any) -> None:
    key = api.http.post("/v1/keys", json={"name": "short", "expires_in_s": 0.3}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    until = time.monotonic() + 30
    while api.http.get("/v1/jobs", headers=headers).status_code == 200:
        assert time.monotonic() < until, "the key did not end"
        time.sleep(0.05)
    assert refused(api.http.get("/v1/jobs", headers=headers)) == "unauthorized"


def test_a_key_can_not_lock_its_owner_out(api: Any, refused: Any) -> None:
    own = api.http.get("/v1/keys").json()["items"][0]["id"]
    assert refused(api.http.delete(f"/v1/keys/{own}")) == "key_is_yours"


def set_quota(api: Any, **limits: Any) -> None:
    with api.platform.database.write() as session:
        session.merge(Quota(tenant_id=tenant_of(api), **limits))


def test_a_full_store_takes_no_upload(api: Any, stranger: Any, refused: Any) -> None:
    api.upload(b"0123456789")
    set_quota(api, max_stored_bytes=15)
    announced = {"filename": "a", "size": 6, "sha256": "0" * 64}
    answer = api.http.post("/v1/uploads", json=announced)
    assert (answer.status_code, refused(answer)) == (402, "quota_bytes")
    assert api.http.post("/v1/uploads", json={**announced, "size": 5}).status_code == 201
    assert stranger.http.post("/v1/uploads", json=announced).status_code == 201


def test_only_so_many_jobs_wait_at_a_time(api: Any, refused: Any, tmp_path: Path) -> None:
    set_quota(api, max_live_jobs=1)
    api.identity()
    body = {"upload": api.upload(), "consent": api.consent()}
    answer = api.http.post("/v1/identities", json=body)
    assert (answer.status_code, refused(answer)) == (429, "too_many_jobs")
    assert int(answer.headers["retry-after"]) > 0
    api.run(tmp_path)
    assert api.http.post("/v1/identities", json=body).status_code == 202


def test_seconds_of_video_are_metered_and_run_out(api: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]["id"]
    api.run(tmp_path)
    item = {"identity": identity, "upload": api.upload(b"speech", "a.wav")}
    api.http.post("/v1/renders", json=item)
    api.run(tmp_path)
    used = api.http.get("/v1/usage").json()
    assert (used["renders"], used["video_seconds"], used["jobs"]) == (1, 3.0, 2)
    stages = {stage["stage"]: stage["attempts"] for stage in used["stages"]}
    assert stages == {stage.name: 1 for kind in (JobKind.ADAPT, JobKind.RENDER) for stage in STAGES[kind]}
    assert used["stored_bytes"]["used"] > 0
    assert used["video_seconds_30_days"] == {"used": 3.0, "limit": None}
    set_quota(api, max_video_seconds=3.0)
    answer = api.http.post("/v1/renders", json=item)
    assert (answer.status_code, refused(answer)) == (402, "quota_seconds")
    earlier = api.http.get("/v1/usage", params={"until": used["since"]}).json()
    assert (earlier["renders"], earlier["stages"]) == (0, [])


def test_buckets_fill_again() -> None:
    now = [0.0]
    limiter = LocalLimiter(lambda: now[0])
    assert [limiter.take("a", 2) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]
    assert limiter.take("b", 2) == 0.0
    assert limiter.take("a", 0) == 0.0
    now[0] = 30.0
    assert limiter.take("a", 2) == 0.0
    assert limiter.take("a", 2) > 0


def test_a_caller_who_is_too_fast_is_told_when_to_go_on(api: Any, refused: Any, monkeypatch: Any) -> None:
    limiter = api.http.app.state.limiter
    monkeypatch.setattr(limiter, "take", lambda bucket, per_minute: 7.2)
    answer = api.http.get("/v1/jobs")
    assert (answer.status_code, refused(answer), answer.headers["retry-after"]) == (429, "rate_limited", "8")


def test_a_limiter_without_its_server_lets_calls_through() -> None:
    failed = []
    limiter = RedisLimiter("redis://127.0.0.1:1/0", lambda: failed.append(1))
    assert limiter.take("a", 1) == 0.0
    assert failed == [1]


def test_the_audit_log_tells_who_did_what(api: Any) -> None:
    identity = api.identity()["identity"]["id"]
    api.http.delete(f"/v1/identities/{identity}", headers={"X-Request-Id": "mine"})
    entries = api.http.get("/v1/audit").json()["items"]
    assert [entry["action"] for entry in entries] == ["consent.recorded", "identity.created", "identity.deleted"]
    assert (entries[2]["subject"], entries[2]["request_id"]) == (identity, "mine")
    assert entries[2]["actor"] == api.http.get("/v1/keys").json()["items"][0]["id"]
    assert api.http.get("/v1/audit", params={"after": 2}).json()["items"] == entries[2:]
    with api.platform.database.read() as session:
        verdict = audit.verify(session, tenant_of(api))
    assert (verdict.entries, verdict.broken_at, verdict.head) == (3, None, entries[2]["hash"])


def test_nobody_can_change_the_audit_log_and_a_change_would_show(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'log.sqlite3'}")
    database.migrate()
    for number in range(3):
        with database.write() as session:
            audit.record(session, "ten_1", actor="key_1", action="test", subject=str(number))
    for statement in ("UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry"):
        with pytest.raises(IntegrityError), database.write() as session:
            session.execute(text(statement))
    with database.write() as session:  # someone with full rights on the database
        session.execute(text("DROP TRIGGER audit_entry_no_update"))
        session.execute(text("DROP TRIGGER audit_entry_no_delete"))
    with database.read() as session:
        assert audit.verify(session, "ten_1").broken_at is None
    for statement, shows in (
        ("UPDATE audit_entry SET subject = '7' WHERE number = 2", 2),
        ("UPDATE audit_entry SET subject = '1' WHERE number = 2", None),
        ("DELETE FROM audit_entry WHERE number = 2", 3),
    ):
        with database.write() as session:
            session.execute(text(statement))
        with database.read() as session:
            assert audit.verify(session, "ten_1").broken_at == shows
    database.close()
