"""`/jobs`: state, progress, events, cancel, retry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from api.deps import Cursor, Identifier, Limit, PlatformDep, TenantDep
from api.jobs import service
from api.jobs.schemas import JobOut, describe
from api.pagination import Page, read_page
from api.problems import ApiError
from core.jobs.tables import Job
from core.jobs.view import view_jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("")
def list_jobs(platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None) -> Page[JobOut]:
    """The tenant's jobs, newest first."""
    with platform.database.read() as session:
        rows, following = read_page(session, select(Job).where(Job.tenant_id == tenant), Job.id, limit, cursor)
        return Page(items=[describe(view) for view in view_jobs(session, rows)], next_cursor=following)


@router.get("/{job_id}")
def get_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> JobOut:
    """One job, with its attempts."""
    with platform.database.read() as session:
        return service.read(session, tenant, job_id)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
def stream_events(
    job_id: Identifier,
    request: Request,
    platform: PlatformDep,
    tenant: TenantDep,
    last_event_id: Annotated[int, Header(ge=0, le=2**62)] = 0,
) -> StreamingResponse:
    """What happens to the job, as it happens; with `Last-Event-ID`, from there on."""
    with platform.database.read() as session:
        service.find(session, tenant, job_id)
    if platform.streams.count >= platform.settings.max_event_streams:
        refused = ApiError("too_many_streams", "Too many event streams are open.", "Poll the job instead.")
        refused.retryable = True
        raise refused
    events = service.follow(platform, job_id, last_event_id, request.is_disconnected)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.post("/{job_id}/cancel", status_code=202)
def cancel_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> JobOut:
    """Ask the job to stop; it keeps its checkpoint. Can be repeated."""
    with platform.database.write() as session:
        return service.cancel(session, tenant, job_id)


@router.post("/{job_id}/retry", status_code=202)
def retry_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> JobOut:
    """Go on from the stage at which the job stopped."""
    with platform.database.write() as session:
        return service.retry(session, platform, tenant, job_id)
