"""Consents of a tenant."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.consents.schemas import Challenge, ConsentOut, EvidenceOut, Tombstone
from api.problems import ApiError, NotFoundError
from api.uploads.service import find as find_upload
from core.consents import service as consents
from core.consents.tables import Consent, ConsentState
from core.jobs.tables import Identity


def find(session: Session, tenant: str, consent_id: str, *, held: bool = False) -> Consent:
    """The tenant's consent; `held`: until the transaction ends nobody else changes it.

    Raises:
        NotFoundError: no such consent, or not this tenant's.
    """
    mine = select(Consent).where(Consent.id == consent_id, Consent.tenant_id == tenant)
    consent = session.scalar(mine.with_for_update(key_share=True) if held else mine)
    if consent is None:
        raise NotFoundError("consent")
    return consent


def add_evidence(session: Session, tenant: str, consent_id: str, upload_id: str) -> Consent:
    """Give the recording.

    Raises:
        NotFoundError: no such consent or upload.
        ApiError: `upload_incomplete`.
        ConsentError: `consent_decided`, `challenge_expired`.
    """
    consent = find(session, tenant, consent_id, held=True)
    upload = find_upload(session, tenant, upload_id)
    if upload.state != "complete":
        raise ApiError("upload_incomplete", "The evidence is not here yet.", "PUT its bytes, and complete it.")
    consents.show(session, consent, upload)
    return consent


def describe(consent: Consent, made: Sequence[Identity] = ()) -> ConsentOut:
    """The consent as the API shows it."""
    waits = consent.state == ConsentState.PENDING and consent.phrase is not None
    evidence = None
    if consent.evidence_upload_id is not None:
        evidence = EvidenceOut(
            upload=consent.evidence_upload_id, sha256=consent.evidence_sha256 or "", at=consent.evidence_at or 0.0
        )
    return ConsentOut(
        id=consent.id,
        subject=consent.subject,
        statement=consent.statement,
        purpose=consent.purpose,
        attested=consent.attested,
        state=ConsentState(consent.state),
        challenge=Challenge(phrase=str(consent.phrase), valid_until=consent.phrase_until or 0.0) if waits else None,
        evidence=evidence,
        checks=consent.checks,
        decided_by=consent.decided_by,
        decided_at=consent.decided_at,
        reason=consent.reason,
        expires_at=consent.expires_at,
        revoked_at=consent.revoked_at,
        created_at=consent.created_at,
        identities=[
            Tombstone(identity=one.id, deleted_at=one.deleted_at, deleted_because=one.deleted_because) for one in made
        ],
    )


def describe_whole(session: Session, consent: Consent) -> ConsentOut:
    """The consent, with what was made under it."""
    made = session.scalars(select(Identity).where(Identity.consent_id == consent.id).order_by(Identity.id)).all()
    return describe(consent, made)
