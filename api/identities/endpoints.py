"""`/identities`: ask for an avatar, look at it, download it, delete it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Cursor, IdempotencyKey, Identifier, Limit, PlatformDep, TenantDep, create_once
from api.downloads import send_file
from api.identities import service
from api.identities.schemas import IdentityCreate, IdentityCreated, IdentityOut
from api.pagination import Page, read_page
from core.jobs.idempotency import Answer
from core.jobs.tables import Identity, Job

router = APIRouter(prefix="/identities", tags=["identities"])


@router.post("", status_code=202, response_model=IdentityCreated)
def create_identity(
    body: IdentityCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make an avatar from an uploaded video."""

    def create(session: Session) -> Answer:
        return Answer(202, service.create(session, platform, tenant, body).model_dump(mode="json"))

    return create_once(platform, tenant, "POST /identities", idempotency_key, body, create)


@router.get("")
def list_identities(
    platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None
) -> Page[IdentityOut]:
    """The tenant's identities, newest first."""
    mine = select(Identity).where(Identity.tenant_id == tenant, Identity.deleted_at.is_(None))
    with platform.database.read() as session:
        rows, following = read_page(session, mine, Identity.id, limit, cursor)
        jobs = {
            job.id: job
            for job in session.scalars(select(Job).where(Job.id.in_([identity.job_id for identity in rows])))
        }
        items = [service.describe(identity, jobs[identity.job_id]) for identity in rows]
        return Page(items=items, next_cursor=following)


@router.get("/{identity_id}")
def get_identity(identity_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> IdentityOut:
    """One identity."""
    with platform.database.read() as session:
        identity = service.find(session, tenant, identity_id)
        return service.describe(identity, session.get_one(Job, identity.job_id))


@router.delete("/{identity_id}", status_code=204)
def delete_identity(identity_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> Response:
    """Delete the identity, its bundle, its renders, and its video unless another identity needs it."""
    with platform.database.write() as session:
        keys = service.delete(session, tenant, identity_id)
    for key in keys:
        platform.store.delete(key)
    return Response(status_code=204)


@router.get("/{identity_id}/bundle", response_class=FileResponse)
def get_bundle(identity_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> Response:
    """Download the avatar bundle."""
    with platform.database.read() as session:
        identity = service.ready(session, tenant, identity_id)
    return send_file(platform, str(identity.bundle_key), f"{identity.id}.likeness", "application/zip")
