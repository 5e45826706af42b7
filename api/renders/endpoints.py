"""`/renders` and `/render-batches`: videos of an identity that speaks."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Cursor, IdempotencyKey, Identifier, Limit, PlatformDep, Tags, TenantDep, create_once
from api.downloads import REDIRECT, send_file
from api.jobs.schemas import describe as describe_job
from api.pagination import Page, read_page, with_tags
from api.problems import FOUND, KEYED, ApiError, problems
from api.renders import batches, service
from api.renders.archive import stream_zip
from api.renders.schemas import RenderBatchCreate, RenderBatchOut, RenderCreate, RenderCreated, RenderOut
from core.jobs.idempotency import Answer
from core.jobs.tables import Identity, Job, Render
from core.jobs.view import view_job

router = APIRouter(tags=["renders"])


@router.post("/renders", status_code=202, response_model=RenderCreated, responses={**FOUND, **problems(402, 409, 410)})
def create_render(
    body: RenderCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make one video."""

    def create(session: Session) -> Answer:
        render, job = service.create(session, platform, tenant, body)
        made = RenderCreated(render=service.describe(render, job), job=describe_job(view_job(session, job)))
        return Answer(202, made.model_dump(mode="json"))

    return create_once(platform, tenant, "POST /renders", idempotency_key, body, create)


@router.get("/renders", responses=KEYED)
def list_renders(
    platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None, metadata: Tags = None
) -> Page[RenderOut]:
    """The tenant's renders, newest first."""
    mine = select(Render).join(Identity, Identity.id == Render.identity_id)
    mine = with_tags(mine.where(Render.tenant_id == tenant, Identity.deleted_at.is_(None)), Render.tags, metadata)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, Render.id, limit, cursor)
        return Page(items=service.describe_all(session, rows), next_cursor=following)


@router.get("/renders/{render_id}", responses=FOUND)
def get_render(render_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> RenderOut:
    """One render."""
    with platform.database.read() as session:
        render = service.find(session, tenant, render_id)
        return service.describe(render, session.get_one(Job, render.job_id))


@router.get(
    "/renders/{render_id}/output",
    status_code=307,
    response_class=Response,
    responses={**FOUND, **problems(409), **REDIRECT},
)
def get_output(render_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> Response:
    """Download the video."""
    with platform.database.read() as session:
        render = service.find(session, tenant, render_id)
        state = session.get_one(Job, render.job_id).state
    if render.output_key is None:
        raise ApiError("not_ready", f"The render's job is {state}.", "Wait until its job has succeeded.")
    return send_file(platform, render.output_key, f"{render.id}.mp4", "video/mp4")


@router.post("/render-batches", status_code=202, response_model=RenderBatchOut, responses=KEYED)
def create_batch(
    body: RenderBatchCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make many videos; each is a job of its own. An item that can't be accepted says why, and the others go on."""

    def create(session: Session) -> Answer:
        return Answer(202, batches.create(session, platform, tenant, body).model_dump(mode="json"))

    return create_once(platform, tenant, "POST /render-batches", idempotency_key, body, create)


@router.get("/render-batches/{batch_id}", responses=FOUND)
def get_batch(batch_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> RenderBatchOut:
    """One batch with all its renders."""
    with platform.database.read() as session:
        return batches.read(session, batches.find(session, tenant, batch_id))


@router.get(
    "/render-batches/{batch_id}/archive",
    response_class=StreamingResponse,
    responses={
        **FOUND,
        **problems(409),
        200: {"content": {"application/zip": {}}, "description": "A zip of the videos and `manifest.json`."},
    },
)
def get_archive(batch_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> StreamingResponse:
    """All videos of a batch that has ended as one zip; `manifest.json` in it says what became of each item."""
    with platform.database.read() as session:
        members = batches.members(session, batches.find(session, tenant, batch_id))
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}.zip"'}
    return StreamingResponse(stream_zip(platform.store, members), media_type="application/zip", headers=headers)
