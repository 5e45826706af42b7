"""`/uploads`: three steps, create, PUT to the target or targets, complete."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import IdempotencyKey, Identifier, PlatformDep, TenantDep, create_once
from api.problems import FOUND, KEYED, problems
from api.uploads import service
from api.uploads.schemas import UploadCreate, UploadOut
from core.jobs.idempotency import Answer

router = APIRouter(prefix="/uploads", tags=["uploads"])


@router.post("", status_code=201, response_model=UploadOut, responses={**KEYED, **problems(402, 413)})
def create_upload(
    body: UploadCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Announce a file. The answer says where to PUT its bytes: whole, or a large one in parts."""

    def create(session: Session) -> Answer:
        return Answer(201, service.describe(platform, service.create(session, platform, tenant, body)).model_dump())

    return create_once(platform, tenant, "POST /uploads", idempotency_key, body, create)


@router.get("/{upload_id}", responses=FOUND)
def get_upload(upload_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> UploadOut:
    """One upload, with fresh targets while it waits; `stored` says which parts need not be sent again."""
    with platform.database.read() as session:
        upload = service.find(session, tenant, upload_id)
    return service.describe(platform, upload)


@router.post("/{upload_id}/complete", responses={**FOUND, **problems(409, 410)})
def complete_upload(upload_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> UploadOut:
    """Confirm that all bytes were sent. Size and sha256 of what lies in the store are checked. Can be repeated."""
    return service.describe(platform, service.complete(platform, tenant, upload_id))
