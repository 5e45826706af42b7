"""What happens to a consent: recorded, challenged, shown by evidence, judged, revoked, expired. In the caller's own
transaction; who may do it is the caller's business.
"""

from __future__ import annotations

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from core.consents.erase import erase_identity
from core.consents.phrases import LIFETIME_SECONDS, new_phrase
from core.consents.tables import Consent, ConsentState
from core.errors import LikenessError
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.identifiers import new_id
from core.jobs.lifecycle import cancel, release_consented
from core.jobs.states import JOB_LIVE, JobState
from core.jobs.steps import JobError, changed, end_job, lock_job
from core.jobs.tables import Identity, Job, Render, Upload

ATTESTATION = "attestation"
REASON_LENGTH = 500
_REJECTED = JobError(
    "consent_rejected",
    "The consent that this job waited for was rejected.",
    "Record the consent again, with evidence that shows it.",
)


class ConsentError(LikenessError):
    """The consent is not in a state in which this can be asked of it."""


def record(
    session: Session,
    tenant_id: str,
    *,
    subject: str,
    statement: str,
    purpose: str,
    attested: bool,
    needs_evidence: bool,
    lifetime_s: float | None,
) -> Consent:
    """Add a consent: verified at once where an attestation is enough, else pending with a challenge phrase.

    Args:
        session: a writing session.
        tenant_id: the owner.
        subject: who agrees.
        statement: to what, in their words.
        purpose: what the avatar is for.
        attested: the caller's word that they agreed.
        needs_evidence: whether that word is not enough.
        lifetime_s: seconds from now after which the consent ends.
    """
    consent = Consent(
        id=new_id("con"),
        tenant_id=tenant_id,
        subject=subject,
        statement=statement,
        purpose=purpose,
        attested=attested,
        state=ConsentState.PENDING,
        checks=[],
    )
    session.add(consent)
    session.flush()
    if lifetime_s is not None:
        end = update(Consent).where(Consent.id == consent.id).values(expires_at=database_now() + lifetime_s)
        changed(session, end)
    if attested and not needs_evidence:
        _decide(session, consent, ConsentState.VERIFIED, ATTESTATION, "")
    else:
        challenge(session, consent)
    session.refresh(consent)
    return consent


def challenge(session: Session, consent: Consent) -> None:
    """Give the consent a new phrase, valid for half an hour.

    Raises:
        ConsentError: `consent_decided`.
    """
    _still_pending(consent)
    values = {"phrase": new_phrase(), "phrase_until": database_now() + LIFETIME_SECONDS}
    changed(session, update(Consent).where(Consent.id == consent.id).values(values))
    session.refresh(consent)


def show(session: Session, consent: Consent, upload: Upload) -> None:
    """Add the evidence: a recording in which the person says the statement and the phrase.

    Raises:
        ConsentError: `consent_decided`; `challenge_expired`, the phrase was drawn too long ago.
    """
    _still_pending(consent)
    fresh = (Consent.id == consent.id, Consent.phrase_until > database_now())
    values = {
        "evidence_upload_id": upload.id,
        "evidence_sha256": upload.sha256,
        "evidence_at": database_now(),
        "checks": [],
    }
    if changed(session, update(Consent).where(*fresh).values(values)) == 0:
        raise ConsentError("challenge_expired", "The challenge phrase is too old.", "Ask for a new one, record it.")
    session.refresh(consent)


def judge(session: Session, consent: Consent, *, verified: bool, by: str, reason: str, max_attempts: int) -> None:
    """Decide on the evidence: jobs that wait for the consent start, or are rejected.

    Raises:
        ConsentError: `consent_decided`; `evidence_missing`.
    """
    _still_pending(consent)
    if verified and consent.evidence_upload_id is None:
        raise ConsentError("evidence_missing", "There is no evidence to judge.", "POST it to .../evidence first.")
    _decide(session, consent, ConsentState.VERIFIED if verified else ConsentState.REJECTED, by, reason)
    if verified:
        release_consented(session, consent.id, max_attempts)
        return
    for job_id in session.scalars(select(Job.id).where(Job.awaiting_consent_id == consent.id).order_by(Job.id)).all():
        job = lock_job(session, job_id)
        if job is not None and job.state == JobState.AWAITING_CONSENT:
            end_job(session, job, JobState.REJECTED, None, _REJECTED)
        elif job is not None and job.state in JOB_LIVE:
            cancel(session, job_id)


def revoke(session: Session, consent: Consent, reason: str) -> tuple[list[str], list[str]]:
    """Take the consent back: its jobs stop, its identities are erased. Again is the same as once.

    Returns the ids of the identities, and the keys of the objects to remove after commit.
    """
    live = (Consent.id == consent.id, Consent.state != ConsentState.REVOKED)
    values = {"state": ConsentState.REVOKED, "revoked_at": database_now(), "reason": reason[:REASON_LENGTH]}
    changed(session, update(Consent).where(*live).values(values))
    erased, keys = [], []
    mine = select(Identity.id).where(Identity.consent_id == consent.id, Identity.deleted_at.is_(None))
    for identity_id in session.scalars(mine.order_by(Identity.id)).all():
        keys += erase_identity(session, identity_id, "consent_revoked")
        erased.append(identity_id)
    if consent.evidence_upload_id is not None:
        # The evidence stays: it shows that what was made while the consent held was allowed.
        evidence = session.get_one(Upload, consent.evidence_upload_id, populate_existing=True)
        keys = [key for key in keys if key != evidence.object_key]
        changed(session, update(Upload).where(Upload.id == evidence.id).values(removed_at=None))
    session.refresh(consent)
    return erased, keys


def require_valid(session: Session, consent: Consent) -> None:
    """Whether something may be made under this consent, now or once it is verified.

    Raises:
        ConsentError: `consent_not_valid`.
    """
    ended = select(Consent.id).where(Consent.id == consent.id, Consent.expires_at <= database_now())
    good = consent.state in (ConsentState.PENDING, ConsentState.VERIFIED)
    if not good or session.scalar(ended) is not None:
        state = consent.state if not good else ConsentState.EXPIRED
        raise ConsentError("consent_not_valid", f"The consent is {state}.", "Record a new consent of the person.")


def expire_once(database: Database) -> int:
    """End the consents whose time is over: what is being made under them stops. Returns how many.

    What was made is kept, and can't be used for renders: an expired consent was not taken back.
    """
    over = (
        Consent.state.in_((ConsentState.PENDING, ConsentState.VERIFIED)),
        Consent.expires_at <= database_now(),
    )
    with database.read() as session:
        ended = session.scalars(select(Consent.id).where(*over)).all()
    for consent_id in ended:
        with database.write() as session:
            changed(session, update(Consent).where(Consent.id == consent_id, *over).values(state=ConsentState.EXPIRED))
            for job_id in _live_jobs(session, consent_id):
                job = lock_job(session, job_id)
                if job is not None and job.state in JOB_LIVE:
                    cancel(session, job_id)
    return len(ended)


def _live_jobs(session: Session, consent_id: str) -> list[str]:
    making = select(Identity.job_id).where(Identity.consent_id == consent_id)
    showing = (
        select(Render.job_id).join(Identity, Identity.id == Render.identity_id).where(Identity.consent_id == consent_id)
    )
    mine = or_(Job.id.in_(making), Job.id.in_(showing))
    return list(session.scalars(select(Job.id).where(Job.state.in_(JOB_LIVE), mine).order_by(Job.id)))


def _still_pending(consent: Consent) -> None:
    if consent.state != ConsentState.PENDING:
        raise ConsentError(
            "consent_decided", f"The consent is {consent.state}.", "Only a pending consent takes evidence or a verdict."
        )


def _decide(session: Session, consent: Consent, state: ConsentState, by: str, reason: str) -> None:
    pending = update(Consent).where(Consent.id == consent.id, Consent.state == ConsentState.PENDING)
    values = {"state": state, "decided_by": by, "decided_at": database_now(), "reason": reason[:REASON_LENGTH] or None}
    changed(session, pending.values(values))
    session.refresh(consent)
