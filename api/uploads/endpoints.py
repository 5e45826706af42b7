"""`/uploads`: three steps, create, PUT, complete."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import IdempotencyKey, Identifier, PlatformDep, TenantDep, create_once
from api.uploads import service
from api.uploads.schemas import UploadCreate, UploadOut
from core.jobs.idempotency import Answer

router = APIRouter(prefix="/uploads", tags=["uploads"])


@router.post("", status_code=201, response_model=UploadOut)
def create_upload(
    body: UploadCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Announce a file. The answer says where to PUT its bytes."""

    def create(session: Session) -> Answer:
        return Answer(201, service.describe(service.create(session, platform, tenant, body)).model_dump())

    return create_once(platform, tenant, "POST /uploads", idempotency_key, body, create)


@router.get("/{upload_id}")
def get_upload(upload_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> UploadOut:
    """One upload."""
    with platform.database.read() as session:
        return service.describe(service.find(session, tenant, upload_id))


@router.put(
    "/{upload_id}/content",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def put_content(upload_id: Identifier, request: Request, platform: PlatformDep, tenant: TenantDep) -> UploadOut:
    """Send the bytes. They are refused unless they have the announced size and sha256."""
    return service.describe(await service.receive(platform, tenant, upload_id, request.stream()))


@router.post("/{upload_id}/complete")
def complete_upload(upload_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> UploadOut:
    """Confirm that the bytes are here. Can be repeated."""
    with platform.database.write() as session:
        return service.describe(service.complete(session, platform, tenant, upload_id))
