"""`/identities`: ask for an avatar, look at it, download it, delete it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import CallerDep, Cursor, IdempotencyKey, Identifier, Limit, PlatformDep, Tags, TenantDep, create_once
from api.downloads import REDIRECT, send_file
from api.identities import service
from api.identities.schemas import IdentityCreate, IdentityCreated, IdentityOut
from api.pagination import Page, read_page, with_tags
from api.problems import FOUND, KEYED, problems
from core.jobs.idempotency import Answer
from core.jobs.tables import Identity, Job

router = APIRouter(prefix="/identities", tags=["identities"])


@router.post("", status_code=202, response_model=IdentityCreated, responses={**FOUND, **problems(409, 410)})
def create_identity(
    body: IdentityCreate, platform: PlatformDep, caller: CallerDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make an avatar from an uploaded video, under the consent of the person in it."""

    def create(session: Session) -> Answer:
        made = service.create(session, platform, caller.tenant, body)
        caller.audit(session, "identity.created", made.identity.id, consent=made.identity.consent)
        return Answer(202, made.model_dump(mode="json"))

    return create_once(platform, caller.tenant, "POST /identities", idempotency_key, body, create)


@router.get("", responses=KEYED)
def list_identities(
    platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None, metadata: Tags = None
) -> Page[IdentityOut]:
    """The tenant's identities, newest first."""
    mine = select(Identity).where(Identity.tenant_id == tenant, Identity.deleted_at.is_(None))
    with platform.database.read() as session:
        rows, following = read_page(session, with_tags(mine, Identity.tags, metadata), Identity.id, limit, cursor)
        jobs = {
            job.id: job
            for job in session.scalars(select(Job).where(Job.id.in_([identity.job_id for identity in rows])))
        }
        items = [service.describe(identity, jobs[identity.job_id]) for identity in rows]
        return Page(items=items, next_cursor=following)


@router.get("/{identity_id}", responses=FOUND)
def get_identity(identity_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> IdentityOut:
    """One identity."""
    with platform.database.read() as session:
        identity = service.find(session, tenant, identity_id)
        return service.describe(identity, session.get_one(Job, identity.job_id))


@router.delete("/{identity_id}", status_code=204, responses=FOUND)
def delete_identity(identity_id: Identifier, platform: PlatformDep, caller: CallerDep) -> Response:
    """Delete the identity, its bundle, its renders, and its video unless another identity needs it."""
    with platform.database.write() as session:
        keys = service.delete(session, caller.tenant, identity_id)
        caller.audit(session, "identity.deleted", identity_id, objects=len(keys))
    for key in keys:
        platform.store.delete(key)
    return Response(status_code=204)


@router.get(
    "/{identity_id}/bundle", status_code=307, response_class=Response, responses={**FOUND, **problems(409), **REDIRECT}
)
def get_bundle(identity_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> Response:
    """Download the avatar bundle."""
    with platform.database.read() as session:
        identity = service.ready(session, tenant, identity_id)
    return send_file(platform, str(identity.bundle_key), f"{identity.id}.likeness", "application/zip")
