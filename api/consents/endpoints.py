"""`/consents`: recorded, challenged, shown, judged, revoked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.consents import service
from api.consents.schemas import ConsentCreate, ConsentDecision, ConsentEvidence, ConsentOut, ConsentRevoke
from api.deps import (
    ConsentsCaller,
    Cursor,
    IdempotencyKey,
    Identifier,
    Limit,
    PlatformDep,
    ReviewCaller,
    TenantDep,
    create_once,
)
from api.pagination import Page, read_page
from api.problems import FOUND, KEYED, problems
from core.consents import service as consents
from core.consents.tables import Consent, ConsentState
from core.jobs.idempotency import Answer

router = APIRouter(prefix="/consents", tags=["consents"])


@router.post("", status_code=201, response_model=ConsentOut, responses=KEYED)
def create_consent(
    body: ConsentCreate, platform: PlatformDep, caller: ConsentsCaller, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Record a consent. A pending one comes with a challenge phrase for the evidence, valid for half an hour."""

    def create(session: Session) -> Answer:
        consent = consents.record(
            session,
            caller.tenant,
            subject=body.subject,
            statement=body.statement,
            purpose=body.purpose,
            attested=body.attested,
            needs_evidence=platform.settings.needs_evidence,
            lifetime_s=body.expires_in_s,
        )
        caller.audit(session, "consent.recorded", consent.id, state=consent.state, attested=body.attested)
        return Answer(201, service.describe(consent).model_dump(mode="json"))

    return create_once(platform, caller.tenant, "POST /consents", idempotency_key, body, create)


@router.get("", responses=KEYED)
def list_consents(
    platform: PlatformDep,
    tenant: TenantDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    state: Annotated[ConsentState | None, Query()] = None,
) -> Page[ConsentOut]:
    """The tenant's consents, newest first."""
    mine = select(Consent).where(Consent.tenant_id == tenant)
    if state is not None:
        mine = mine.where(Consent.state == state)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, Consent.id, limit, cursor)
        return Page(items=[service.describe(consent) for consent in rows], next_cursor=following)


@router.get("/{consent_id}", responses=FOUND)
def get_consent(consent_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> ConsentOut:
    """One consent, with what was made under it."""
    with platform.database.read() as session:
        return service.describe_whole(session, service.find(session, tenant, consent_id))


@router.post("/{consent_id}/challenge", responses={**FOUND, **problems(409)})
def new_challenge(consent_id: Identifier, platform: PlatformDep, caller: ConsentsCaller) -> ConsentOut:
    """Draw a new phrase, where the last one is too old."""
    with platform.database.write() as session:
        consent = service.find(session, caller.tenant, consent_id, held=True)
        consents.challenge(session, consent)
        return service.describe_whole(session, consent)


@router.post("/{consent_id}/evidence", responses={**FOUND, **problems(409)})
def add_evidence(
    consent_id: Identifier, body: ConsentEvidence, platform: PlatformDep, caller: ConsentsCaller
) -> ConsentOut:
    """Give the recording in which the person says the statement and the phrase."""
    with platform.database.write() as session:
        consent = service.add_evidence(session, caller.tenant, consent_id, body.upload)
        answer = service.describe_whole(session, consent)
        caller.audit(session, "consent.evidence", consent_id, sha256=consent.evidence_sha256)
        return answer


@router.post("/{consent_id}/decision", responses={**FOUND, **problems(409)})
def decide(consent_id: Identifier, body: ConsentDecision, platform: PlatformDep, caller: ReviewCaller) -> ConsentOut:
    """Judge the evidence: jobs that waited for it start, or are rejected. Wants a key with the scope `review`."""
    with platform.database.write() as session:
        consent = service.find(session, caller.tenant, consent_id, held=True)
        consents.judge(
            session,
            consent,
            verified=body.verdict == "verified",
            by=caller.key_id,
            reason=body.reason,
            max_attempts=platform.settings.max_attempts,
        )
        answer = service.describe_whole(session, consent)
        caller.audit(session, f"consent.{body.verdict}", consent_id, reason=body.reason)
        return answer


@router.post("/{consent_id}/revoke", responses=FOUND)
def revoke(consent_id: Identifier, body: ConsentRevoke, platform: PlatformDep, caller: ConsentsCaller) -> ConsentOut:
    """Take the consent back: jobs stop, bundles and videos are removed. Can be repeated, can't be undone."""
    with platform.database.write() as session:
        consent = service.find(session, caller.tenant, consent_id, held=True)
        erased, keys = consents.revoke(session, consent, body.reason)
        answer = service.describe_whole(session, consent)
        caller.audit(session, "consent.revoked", consent_id, identities=erased, objects=len(keys))
    for key in keys:
        platform.store.delete(key)
    return answer
