"""A consent is the gate: nothing is made without it, and what was made goes when it is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.consents.checkers import Finding, check_once
from core.consents.phrases import WORDS, new_phrase
from core.consents.service import expire_once
from core.consents.tables import Consent
from core.jobs import claims
from core.jobs.kinds import QUEUES
from core.jobs.lease import Directive, heartbeat


def pending(api: Any, **more: Any) -> dict[str, Any]:
    """A consent whose word alone is not enough."""
    answer = api.http.post("/v1/consents", json={"subject": "Ada", "purpose": "tests", **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_an_attestation_is_enough_where_the_operator_says_so(api: Any) -> None:
    consent = pending(api, attested=True)
    assert (consent["state"], consent["decided_by"], consent["challenge"]) == ("verified", "attestation", None)


def test_without_one_a_phrase_is_to_be_said(api: Any) -> None:
    first, second = pending(api), pending(api)
    assert first["state"] == "pending"
    assert first["challenge"]["phrase"] != second["challenge"]["phrase"]
    assert 1790 < first["challenge"]["valid_until"] - first["created_at"] < 1810


def test_phrases_are_six_different_words() -> None:
    assert len(set(WORDS)) == len(WORDS) > 150
    for _ in range(20):
        words = new_phrase().split()
        assert len(set(words)) == 6
        assert set(words) <= set(WORDS)


def test_a_job_waits_until_the_evidence_was_judged(api: Any, refused: Any) -> None:
    consent = pending(api)["id"]
    made = api.identity(consent=consent)
    assert (made["identity"]["state"], made["job"]["state"]) == ("waiting", "awaiting_consent")
    assert claims.claim_next(api.platform.database, QUEUES, "test", 60) is None
    decision = {"verdict": "verified", "reason": "seen"}
    early = api.http.post(f"/v1/consents/{consent}/decision", json=decision)
    assert (early.status_code, refused(early)) == (409, "evidence_missing")
    recording = api.upload(b"a face that speaks", "consent.mp4")
    shown = api.http.post(f"/v1/consents/{consent}/evidence", json={"upload": recording}).json()
    assert (shown["state"], shown["evidence"]["upload"]) == ("pending", recording)
    judged = api.http.post(f"/v1/consents/{consent}/decision", json=decision).json()
    assert (judged["state"], judged["reason"], judged["challenge"]) == ("verified", "seen", None)
    assert judged["identities"] == [{"identity": made["identity"]["id"], "deleted_at": None, "deleted_because": None}]
    assert claims.claim_next(api.platform.database, QUEUES, "test", 60) is not None
    assert refused(api.http.post(f"/v1/consents/{consent}/decision", json=decision)) == "consent_decided"


def test_a_job_may_wait_for_its_upload_and_its_consent(api: Any) -> None:
    consent, content = pending(api)["id"], b"late"
    upload = api.upload(content, complete=False)
    job = api.identity(consent=consent, upload=upload)["job"]
    assert job["state"] == "awaiting_upload"
    api.http.put(api.http.get(f"/v1/uploads/{upload}").json()["put"]["url"], content=content)
    api.http.post(f"/v1/uploads/{upload}/complete")
    assert api.http.get(f"/v1/jobs/{job['id']}").json()["state"] == "awaiting_consent"
    api.http.post(f"/v1/consents/{consent}/evidence", json={"upload": api.upload(b"x")})
    api.http.post(f"/v1/consents/{consent}/decision", json={"verdict": "verified"})
    assert api.http.get(f"/v1/jobs/{job['id']}").json()["state"] == "queued"


def test_a_rejected_consent_rejects_its_jobs(api: Any, refused: Any) -> None:
    consent = pending(api)["id"]
    job = api.identity(consent=consent)["job"]["id"]
    api.http.post(f"/v1/consents/{consent}/decision", json={"verdict": "rejected", "reason": "another face"})
    ended = api.http.get(f"/v1/jobs/{job}").json()
    assert (ended["state"], ended["error"]["code"]) == ("rejected", "consent_rejected")
    again = api.http.post("/v1/identities", json={"upload": api.upload(), "consent": consent})
    assert (again.status_code, refused(again)) == (409, "consent_not_valid")


def test_an_old_phrase_is_refused_and_a_new_one_can_be_had(api: Any, refused: Any) -> None:
    consent = pending(api)
    with api.platform.database.write() as session:
        session.execute(update(Consent).values(phrase_until=Consent.phrase_until - 1801))
    evidence = {"upload": api.upload(b"x")}
    path = f"/v1/consents/{consent['id']}"
    assert refused(api.http.post(f"{path}/evidence", json=evidence)) == "challenge_expired"
    fresh = api.http.post(f"{path}/challenge").json()
    assert fresh["challenge"]["phrase"] != consent["challenge"]["phrase"]
    assert api.http.post(f"{path}/evidence", json=evidence).status_code == 200


def test_revoking_stops_what_runs_and_removes_what_was_made(api: Any, refused: Any, tmp_path: Path) -> None:
    consent = api.consent()
    done = api.identity(consent=consent)["identity"]["id"]
    api.run(tmp_path)
    item = {"identity": done, "upload": api.upload(b"speech", "a.wav")}
    api.http.post("/v1/renders", json=item)
    api.run(tmp_path)
    waiting = api.http.post("/v1/renders", json=item).json()["job"]["id"]
    running = api.identity(consent=consent)["job"]["id"]
    claim = claims.claim_next(api.platform.database, ("cpu",), "test", 60)
    while claim is not None and claim.job_id != running:
        claim = claims.claim_next(api.platform.database, ("cpu",), "test", 60)
    assert claim is not None

    ended = api.http.post(f"/v1/consents/{consent}/revoke", json={"reason": "changed my mind"}).json()
    assert (ended["state"], ended["reason"]) == ("revoked", "changed my mind")
    assert {stone["deleted_because"] for stone in ended["identities"]} == {"consent_revoked"}
    assert heartbeat(api.platform.database, claim, 60, 0.5) in (Directive.CANCEL, Directive.LOST)
    assert api.http.get(f"/v1/jobs/{waiting}").json()["cancel_requested"]
    assert refused(api.http.get(f"/v1/identities/{done}")) == "not_found"
    assert refused(api.http.post("/v1/renders", json=item)) == "not_found"
    left = [path for path in (api.platform.settings.objects_dir / "data").rglob("*") if path.is_file()]
    assert left == []
    again = api.http.post("/v1/identities", json={"upload": api.upload(), "consent": consent})
    assert refused(again) == "consent_not_valid"
    assert api.http.post(f"/v1/consents/{consent}/revoke", json={}).json()["state"] == "revoked"


def test_the_evidence_outlives_the_revocation(api: Any) -> None:
    consent = pending(api)["id"]
    recording = api.upload(b"a face that speaks")
    api.http.post(f"/v1/consents/{consent}/evidence", json={"upload": recording})
    api.identity(consent=consent, upload=recording)
    kept = api.http.post(f"/v1/consents/{consent}/revoke", json={}).json()
    assert kept["evidence"]["upload"] == recording
    left = [path.read_bytes() for path in (api.platform.settings.objects_dir / "data").rglob("*") if path.is_file()]
    assert b"a face that speaks" in left


def test_an_expired_consent_stops_new_work_and_keeps_what_is_there(api: Any, refused: Any, tmp_path: Path) -> None:
    consent = api.consent(expires_in_s=3600)
    made = api.identity(consent=consent)["identity"]["id"]
    api.run(tmp_path)
    item = {"identity": made, "upload": api.upload(b"speech", "a.wav")}
    job = api.http.post("/v1/renders", json=item).json()["job"]["id"]
    with api.platform.database.write() as session:
        session.execute(update(Consent).values(expires_at=Consent.expires_at - 3601))
    assert refused(api.http.post("/v1/renders", json=item)) == "consent_not_valid"
    assert expire_once(api.platform.database) == 1
    assert expire_once(api.platform.database) == 0
    assert api.http.get(f"/v1/consents/{consent}").json()["state"] == "expired"
    assert api.http.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert refused(api.http.post(f"/v1/jobs/{job}/retry")) == "consent_not_valid"
    assert api.http.get(f"/v1/identities/{made}").json()["state"] == "ready"


class Word:
    """A checker that looks for its word in the recording."""

    def __init__(self, word: bytes) -> None:
        self.name = word.decode()
        self._word = word

    def check(self, evidence: Path, phrase: str, statement: str) -> Finding:
        assert phrase
        assert statement
        content = evidence.read_bytes()
        verdict = "unsure" if b"mumble" in content else "passed" if self._word in content else "failed"
        return Finding(self.name, verdict, f"{self.name}: {verdict}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "state"),
    [(b"face and voice", "verified"), (b"face", "rejected"), (b"mumble face", "pending")],
)
def test_checkers_decide_where_they_are_sure(api: Any, said: bytes, state: str) -> None:
    consent = pending(api)["id"]
    api.http.post(f"/v1/consents/{consent}/evidence", json={"upload": api.upload(said)})
    checkers = [Word(b"face"), Word(b"voice")]
    platform = api.platform
    assert check_once(platform.database, platform.store, platform.settings, checkers) == 1
    judged = api.http.get(f"/v1/consents/{consent}").json()
    assert (judged["state"], len(judged["checks"])) == (state, 2)
    assert check_once(platform.database, platform.store, platform.settings, checkers) == 0
