"""Identities, renders and their jobs, over HTTP."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from api.umfs.service import SHIPPED
from core.jobs import claims, lease
from core.jobs.kinds import QUEUES, STAGES, JobKind
from core.jobs.steps import JobError
from core.jobs.tables import Identity


def test_an_identity_is_accepted_with_its_job(api: Any) -> None:
    made = api.identity(name="me")
    assert (made["identity"]["state"], made["job"]["state"]) == ("adapting", "queued")
    assert made["identity"]["job"] == made["job"]["id"]
    job = api.http.get(f"/v1/jobs/{made['job']['id']}").json()
    assert (job["stage"], job["progress"], job["queue_position"], job["eta_s"]) == ("intake", 0.0, 0, None)
    second = api.identity()
    assert second["job"]["queue_position"] == 1


def test_a_job_carries_the_report_on_its_clip(api: Any, tmp_path: Path) -> None:
    made = api.identity()
    where = f"/v1/jobs/{made['job']['id']}"
    assert made["job"]["report"] is None
    warning = {"code": "dark", "message": "The face is dark.", "hint": "Light it."}
    report = {"verdict": "usable_with_warnings", "warnings": [warning], "face_px": 240.0, "lag_frames": None}
    for output in ({}, {"measured": {"report": report}}):
        claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
        lease.finish(api.platform.database, claim, 3, output=output)
    assert api.http.get(where).json()["report"] == report
    api.http.delete(f"/v1/identities/{made['identity']['id']}")
    assert api.http.get(where).json()["report"] is None, "it goes with the person"


def test_no_avatar_without_consent(api: Any, refused: Any) -> None:
    for consent in ({}, {"consent": None}):
        answer = api.http.post("/v1/identities", json={"upload": api.upload(), **consent})
        assert (answer.status_code, refused(answer)) == (422, "consent_required")
    unknown = {"upload": api.upload(), "consent": "con_" + "0" * 32}
    assert refused(api.http.post("/v1/identities", json=unknown)) == "not_found"
    assert api.http.get("/v1/jobs").json()["items"] == []


def test_unknown_things_are_refused(api: Any, refused: Any) -> None:
    upload = api.upload()
    nothing = "upl_" + "0" * 32
    body = {"upload": nothing, "consent": api.consent()}
    assert refused(api.http.post("/v1/identities", json=body)) == "not_found"
    body = {"upload": upload, "consent": api.consent(), "umf": "unheard-of"}
    assert refused(api.http.post("/v1/identities", json=body)) == "umf_unknown"
    body = {"upload": upload, "consent": api.consent(), "umf": "../../secret"}
    assert refused(api.http.post("/v1/identities", json=body)) == "invalid_request"
    assert refused(api.http.get("/v1/nowhere")) == "not_found"
    assert refused(api.http.delete("/v1/jobs")) == "method_not_allowed"
    assert refused(api.http.get("/v1/jobs?cursor=%21%21")) == "invalid_request"
    for cursor in ("", "abc", "am9i", "AAAA"):
        assert refused(api.http.get(f"/v1/jobs?cursor={cursor}")) == "bad_cursor"


def test_umfs_are_none_the_shipped_ones_and_the_files_of_the_folder(api: Any) -> None:
    folder = api.platform.settings.umf_dir
    (folder / "wide.safetensors").write_bytes(b"12345")
    (folder / "notes.txt").write_text("not one")
    shipped = [(path.stem, "shipped", path.stat().st_size) for path in sorted(SHIPPED.glob("*.safetensors"))]
    expected = [("none", "none", 0), *shipped, ("wide", "operator", 5)]
    listed = api.http.get("/v1/umfs").json()["items"]
    assert [(item["name"], item["source"], item["size"]) for item in listed] == expected
    api.identity(umf="wide")
    claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
    assert claim is not None
    assert claim.inputs["options"]["umf"] == str(folder / "wide.safetensors")


def test_a_field_of_ones_own_is_trained_named_and_deleted(
    api: Any, stranger: Any, refused: Any, tmp_path: Path
) -> None:
    clips = [api.upload(name.encode(), f"{name}.mp4") for name in ("ada", "adab", "bob")]
    body = {"name": "ours", "uploads": clips, "consent_attested": True, "iterations": 20}
    assert refused(api.http.post("/v1/umfs", json={**body, "consent_attested": False})) == "invalid_request"
    made = api.http.post("/v1/umfs", json=body)
    assert made.status_code == 202, made.text
    assert refused(api.http.post("/v1/umfs", json=body)) == "umf_name_taken"
    assert refused(api.http.post("/v1/umfs", json={**body, "name": "none"})) == "umf_name_taken"
    identity = {"upload": api.upload(), "consent": api.consent(), "umf": "ours"}
    assert refused(api.http.post("/v1/identities", json=identity)) == "umf_not_ready"
    claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
    assert claim is not None
    assert [clip["name"] for clip in claim.inputs["corpus"]] == ["ada.mp4", "adab.mp4", "bob.mp4"]
    lease.release(api.platform.database, claim)
    api.run(tmp_path)
    own = api.http.get("/v1/umfs").json()["items"][-1]
    assert (own["name"], own["source"], own["state"]) == ("ours", "tenant", "ready")
    assert api.http.post("/v1/identities", json=identity).status_code == 202
    claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
    assert claim is not None
    assert claim.inputs["umf"]["name"] == "ours.safetensors"
    theirs = {"upload": stranger.upload(), "consent": stranger.consent(), "umf": "ours"}
    assert refused(stranger.http.post("/v1/identities", json=theirs)) == "umf_unknown"
    assert api.http.delete(f"/v1/umfs/{own['id']}").status_code == 204
    assert "ours" not in [item["name"] for item in api.http.get("/v1/umfs").json()["items"]]


def test_a_job_waits_for_its_upload(api: Any) -> None:
    content = b"late"
    upload = api.upload(content, complete=False)
    made = api.http.post("/v1/identities", json={"upload": upload, "consent": api.consent()}).json()
    assert (made["identity"]["state"], made["job"]["state"]) == ("waiting", "awaiting_upload")
    assert claims.claim_next(api.platform.database, QUEUES, "test", 60) is None
    api.http.put(api.http.get(f"/v1/uploads/{upload}").json()["put"]["url"], content=content)
    api.http.post(f"/v1/uploads/{upload}/complete")
    assert api.http.get(f"/v1/jobs/{made['job']['id']}").json()["state"] == "queued"
    assert claims.claim_next(api.platform.database, QUEUES, "test", 60) is not None


def test_the_bundle_comes_when_the_identity_is_ready(api: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]["id"]
    early = api.http.get(f"/v1/identities/{identity}/bundle")
    assert (early.status_code, refused(early)) == (409, "identity_not_ready")
    api.run(tmp_path)
    ready = api.http.get(f"/v1/identities/{identity}").json()
    assert ready["state"] == "ready"
    bundle = api.http.get(ready["bundle"]["url"])
    assert bundle.content == identity.encode()
    assert bundle.headers["etag"] == f'"{ready["bundle"]["sha256"]}"'


def test_a_render_needs_a_ready_identity(api: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]["id"]
    item = {"identity": identity, "upload": api.upload(b"speech", "a.wav")}
    assert refused(api.http.post("/v1/renders", json=item)) == "identity_not_ready"
    api.run(tmp_path)
    made = api.http.post("/v1/renders", json=item)
    assert made.status_code == 202
    render = made.json()["render"]
    assert refused(api.http.get(f"/v1/renders/{render['id']}/output")) == "not_ready"
    claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
    assert claim is not None
    assert claim.inputs["options"] == {"size": None, "background": None, "label": True}
    assert claim.inputs["audio"]["name"] == "audio.wav"


def test_a_batch_says_of_each_item_what_became_of_it(api: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]["id"]
    api.run(tmp_path)
    good = {"identity": identity, "upload": api.upload(b"speech", "a.wav")}
    bad = {**good, "upload": "upl_" + "0" * 32}
    answer = api.http.post("/v1/render-batches", json={"items": [good, bad, {**good, "background": "#ff0000"}]})
    batch = answer.json()
    assert (answer.status_code, batch["state"]) == (202, "running")
    assert [item["error"] and item["error"]["code"] for item in batch["items"]] == [None, "not_found", None]
    assert batch["items"][1]["render"] is None
    assert len({item["render"]["job"] for item in batch["items"] if item["render"]}) == 2
    assert api.http.get(f"/v1/render-batches/{batch['id']}").json() == batch
    assert refused(api.http.get(batch["archive"])) == "not_ready"

    api.run(tmp_path)
    assert api.http.get(f"/v1/render-batches/{batch['id']}").json()["state"] == "failed"  # one item was refused
    answer = api.http.get(batch["archive"])
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        told = json.loads(archive.read("manifest.json"))["items"]
        videos = [archive.read(item["file"]) for item in told if "file" in item]
    assert videos == [item["render"]["id"].encode() for item in batch["items"] if item["render"]]
    assert told[1]["error"]["code"] == "not_found"


def test_a_batch_of_which_nothing_can_be_accepted_makes_nothing(api: Any, refused: Any) -> None:
    item = {"identity": "idt_" + "0" * 32, "upload": api.upload(b"speech", "a.wav")}
    headers = {"Idempotency-Key": "again"}
    answer = api.http.post("/v1/render-batches", json={"items": [item, item]}, headers=headers)
    assert (answer.status_code, refused(answer)) == (422, "batch_refused")
    assert api.http.get("/v1/renders").json()["items"] == []


def test_a_rejected_input_shows_its_code_and_hint(api: Any, refused: Any) -> None:
    job = api.identity()["job"]["id"]
    claim = claims.claim_next(api.platform.database, QUEUES, "test", 60)
    assert claim is not None
    lease.fail(api.platform.database, claim, JobError("no_face", "No face.", "Show one."), rejected=True)
    ended = api.http.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "rejected"
    assert ended["error"] == {"code": "no_face", "message": "No face.", "hint": "Show one.", "retryable": False}
    assert [(attempt["stage"], attempt["outcome"]) for attempt in ended["attempts"]] == [("intake", "rejected")]
    assert refused(api.http.post(f"/v1/jobs/{job}/retry")) == "job_not_retryable"
    assert refused(api.http.post(f"/v1/jobs/{job}/cancel")) == "job_finished"


def test_cancel_and_retry(api: Any) -> None:
    job = api.identity()["job"]["id"]
    for _ in range(2):
        answer = api.http.post(f"/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    again = api.http.post(f"/v1/jobs/{job}/retry")
    assert (again.status_code, again.json()["state"], again.json()["cancel_requested"]) == (202, "queued", False)


def test_events_come_in_order_and_go_on_after_the_last_seen(api: Any, tmp_path: Path) -> None:
    job = api.identity()["job"]["id"]
    api.run(tmp_path)
    events = read_events(api, job, 0)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "job.queued"
    assert kinds[-1] == "job.succeeded"
    assert kinds.count("stage.succeeded") == len(STAGES[JobKind.ADAPT])
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))
    assert read_events(api, job, ids[3]) == events[4:]


def test_a_stream_of_a_waiting_job_ends_when_its_time_is_up(api: Any) -> None:
    job = api.identity()["job"]["id"]
    assert [event["type"] for event in read_events(api, job, 0)] == ["job.queued"]
    assert api.platform.events.open == 0


def read_events(api: Any, job: str, after: int) -> list[dict[str, Any]]:
    answer = api.http.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(after)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_lists_are_paged_newest_first(api: Any) -> None:
    made = [api.identity()["identity"]["id"] for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = api.http.get("/v1/identities", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    assert cursor is None


def test_deleting_an_identity_removes_its_artefacts_and_stops_its_jobs(api: Any, refused: Any, tmp_path: Path) -> None:
    identity = api.identity()["identity"]
    api.run(tmp_path)
    item = {"identity": identity["id"], "upload": api.upload(b"speech", "a.wav")}
    render = api.http.post("/v1/renders", json=item).json()["render"]
    assert api.http.delete(f"/v1/identities/{identity['id']}").status_code == 204
    for path in (f"identities/{identity['id']}", f"identities/{identity['id']}/bundle", f"renders/{render['id']}"):
        assert refused(api.http.get(f"/v1/{path}")) == "not_found"
    assert api.http.get("/v1/identities").json()["items"] == []
    assert api.http.get(f"/v1/jobs/{render['job']}").json()["state"] == "cancelled"
    assert refused(api.http.post(f"/v1/jobs/{render['job']}/retry")) == "not_found"
    left = [path.read_bytes() for path in (api.platform.settings.objects_dir / "data").rglob("*") if path.is_file()]
    assert left == []  # the speech was for this identity alone
    assert refused(api.http.post("/v1/identities", json={"upload": identity["upload"], "consent": api.consent()})) == (
        "upload_removed"
    )
    with api.platform.database.read() as session:
        stone = session.get_one(Identity, identity["id"])
        assert (stone.deleted_at is not None, stone.deleted_because, stone.bundle_key) == (True, "deleted", None)
    stored = api.http.get("/v1/usage").json()["stored_bytes"]["used"]
    assert stored == 0


def test_lists_can_be_filtered(api: Any, tmp_path: Path) -> None:
    red = api.identity(metadata={"team": "red", "n": "1"})
    api.run(tmp_path)
    blue = api.identity(metadata={"team": "blue"})

    def ids(path: str, **params: Any) -> list[str]:
        return [item["id"] for item in api.http.get(f"/v1/{path}", params=params).json()["items"]]

    assert ids("identities", metadata="team:red") == [red["identity"]["id"]]
    assert ids("identities", metadata=["team:red", "n:2"]) == []
    assert ids("jobs", state="queued") == [blue["job"]["id"]]
    assert len(ids("jobs", state=["queued", "succeeded"])) == 2
    assert ids("jobs", kind="render") == []
    assert ids("jobs", subject=red["identity"]["id"]) == [red["job"]["id"]]


def test_a_job_that_did_not_change_is_not_sent_again(api: Any) -> None:
    job = api.identity()["job"]["id"]
    first = api.http.get(f"/v1/jobs/{job}")
    again = api.http.get(f"/v1/jobs/{job}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    api.http.post(f"/v1/jobs/{job}/cancel")
    changed = api.http.get(f"/v1/jobs/{job}", headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["state"]) == (200, "cancelled")


def test_health_and_metrics_need_no_key(api: Any) -> None:
    api.identity()
    del api.http.headers["Authorization"]
    for path in ("/healthz", "/readyz", "/v1/healthz", "/v1/readyz"):
        assert api.http.get(path).json() == {"status": "ok"}
    text = api.http.get("/v1/metrics").text
    assert 'likeness_stages{queue="cpu",state="queued"} 1.0' in text
    assert 'likeness_jobs{kind="adapt",state="queued"} 1.0' in text
