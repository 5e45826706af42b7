"""`/renders` and `/render-batches`: videos of an identity that speaks."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Cursor, IdempotencyKey, Identifier, Limit, PlatformDep, TenantDep, create_once
from api.downloads import send_file
from api.jobs.schemas import describe as describe_job
from api.pagination import Page, read_page
from api.problems import ApiError
from api.renders import service
from api.renders.schemas import RenderBatchCreate, RenderBatchOut, RenderCreate, RenderCreated, RenderOut
from core.jobs.idempotency import Answer
from core.jobs.tables import Identity, Job, Render
from core.jobs.view import view_job

router = APIRouter(tags=["renders"])


@router.post("/renders", status_code=202, response_model=RenderCreated)
def create_render(
    body: RenderCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make one video."""

    def create(session: Session) -> Answer:
        render, job = service.create(session, platform, tenant, body)
        made = RenderCreated(render=service.describe(render, job), job=describe_job(view_job(session, job)))
        return Answer(202, made.model_dump(mode="json"))

    return create_once(platform, tenant, "POST /renders", idempotency_key, body, create)


@router.get("/renders")
def list_renders(platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None) -> Page[RenderOut]:
    """The tenant's renders, newest first."""
    mine = select(Render).join(Identity, Identity.id == Render.identity_id)
    mine = mine.where(Render.tenant_id == tenant, Identity.deleted_at.is_(None))
    with platform.database.read() as session:
        rows, following = read_page(session, mine, Render.id, limit, cursor)
        return Page(items=service.describe_all(session, rows), next_cursor=following)


@router.get("/renders/{render_id}")
def get_render(render_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> RenderOut:
    """One render."""
    with platform.database.read() as session:
        render = service.find(session, tenant, render_id)
        return service.describe(render, session.get_one(Job, render.job_id))


@router.get("/renders/{render_id}/output", response_class=FileResponse)
def get_output(render_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> Response:
    """Download the video."""
    with platform.database.read() as session:
        render = service.find(session, tenant, render_id)
        state = session.get_one(Job, render.job_id).state
    if render.output_key is None:
        raise ApiError("not_ready", f"The render's job is {state}.", "Wait until its job has succeeded.")
    return send_file(platform, render.output_key, f"{render.id}.mp4", "video/mp4")


@router.post("/render-batches", status_code=202, response_model=RenderBatchOut)
def create_batch(
    body: RenderBatchCreate, platform: PlatformDep, tenant: TenantDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Make many videos; each is a job of its own."""

    def create(session: Session) -> Answer:
        return Answer(202, service.create_batch(session, platform, tenant, body).model_dump(mode="json"))

    return create_once(platform, tenant, "POST /render-batches", idempotency_key, body, create)


@router.get("/render-batches/{batch_id}")
def get_batch(batch_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> RenderBatchOut:
    """One batch with all its renders."""
    with platform.database.read() as session:
        return service.read_batch(session, tenant, batch_id)
