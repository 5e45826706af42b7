"""`/umfs`: which universal motion fields an identity can start from, and training one of your own."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, IdempotencyKey, Identifier, PlatformDep, TenantDep, create_once
from api.problems import FOUND, KEYED, problems
from api.umfs import service
from api.umfs.schemas import UmfCreate, UmfCreated, UmfList
from core.jobs.idempotency import Answer

router = APIRouter(prefix="/umfs", tags=["umfs"])


@router.get("", responses=KEYED)
def list_umfs(platform: PlatformDep, tenant: TenantDep) -> UmfList:
    """The names that POST /identities accepts as `umf`, and your own that are not trained yet."""
    with platform.database.read() as session:
        return UmfList(items=service.list_all(session, platform, tenant))


@router.post("", status_code=202, response_model=UmfCreated, responses={**FOUND, **problems(409, 410)})
def create_umf(
    body: UmfCreate, platform: PlatformDep, caller: CallerDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Train a motion field on clips of many people."""

    def create(session: Session) -> Answer:
        made = service.create(session, platform, caller.tenant, body)
        caller.audit(session, "umf.created", str(made.umf.id), clips=len(body.uploads))
        return Answer(202, made.model_dump(mode="json"))

    return create_once(platform, caller.tenant, "POST /umfs", idempotency_key, body, create)


@router.delete("/{umf_id}", status_code=204, responses=FOUND)
def delete_umf(umf_id: Identifier, platform: PlatformDep, caller: CallerDep) -> Response:
    """Delete a field of your own. Avatars that were made with it stay."""
    with platform.database.write() as session:
        keys = service.delete(session, caller.tenant, umf_id)
        caller.audit(session, "umf.deleted", umf_id)
    for key in keys:
        platform.store.delete(key)
    return Response(status_code=204)
