"""`/jobs`: state, progress, events, cancel, retry."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from api.deps import Cursor, Identifier, Limit, PlatformDep, TenantDep
from api.jobs import service, streams
from api.jobs.schemas import JobOut, describe
from api.pagination import Page, read_page
from api.problems import FOUND, KEYED, ApiError, problems
from core.jobs.kinds import JobKind
from core.jobs.states import JobState
from core.jobs.tables import Job
from core.jobs.view import view_jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])
ETag = Annotated[str | None, Header(max_length=100)]


@router.get("", responses=KEYED)
def list_jobs(
    platform: PlatformDep,
    tenant: TenantDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in one of these states.")] = None,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    subject: Annotated[str | None, Query(max_length=48, pattern=r"^[a-z]+_[0-9a-f]{32}$")] = None,
) -> Page[JobOut]:
    """The tenant's jobs, newest first."""
    mine = select(Job).where(Job.tenant_id == tenant)
    if state:
        mine = mine.where(Job.state.in_(state))
    if kind is not None:
        mine = mine.where(Job.kind == kind)
    if subject is not None:
        mine = mine.where(Job.subject_id == subject)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, Job.id, limit, cursor)
        return Page(items=[describe(view) for view in view_jobs(session, rows)], next_cursor=following)


@router.get(
    "/{job_id}",
    response_model=JobOut,
    responses={**FOUND, 304: {"description": "Nothing has changed since the answer with this `ETag`."}},
)
async def get_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep, if_none_match: ETag = None) -> Response:
    """One job, with its attempts. With `If-None-Match`, 304 where it is as it was."""
    # The event first: what happens while the job is read makes the answer old, not wrong.
    event = await platform.answers.newest_event(job_id)
    body = platform.answers.find(tenant, job_id, event)
    if body is None:
        body = await to_thread.run_sync(service.read_json, platform, tenant, job_id)
        platform.answers.keep(tenant, job_id, event, body)
    return service.answer(body, if_none_match)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={**FOUND, 200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
def stream_events(
    job_id: Identifier,
    platform: PlatformDep,
    tenant: TenantDep,
    last_event_id: Annotated[int, Header(ge=0, le=2**62)] = 0,
) -> StreamingResponse:
    """What happens to the job, as it happens; with `Last-Event-ID`, from there on."""
    with platform.database.read() as session:
        service.find(session, tenant, job_id)
    if platform.events.open >= platform.settings.max_event_streams:
        refused = ApiError("too_many_streams", "Too many event streams are open.", "Poll the job instead.")
        refused.retryable = True
        raise refused
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = streams.follow(platform, job_id, last_event_id)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.post("/{job_id}/cancel", status_code=202, responses={**FOUND, **problems(409)})
def cancel_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> JobOut:
    """Ask the job to stop; it keeps its checkpoint. Can be repeated."""
    with platform.database.write() as session:
        return service.cancel(session, tenant, job_id)


@router.post("/{job_id}/retry", status_code=202, responses={**FOUND, **problems(409)})
def retry_job(job_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> JobOut:
    """Go on from the stage at which the job stopped."""
    with platform.database.write() as session:
        return service.retry(session, platform, tenant, job_id)
