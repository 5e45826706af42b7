"""Renders of a tenant, alone or in batches: each is a job of its own."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Platform
from api.identities.schemas import FileOut
from api.identities.service import input_file
from api.identities.service import ready as ready_identity
from api.problems import ApiError, NotFoundError
from api.renders.schemas import RenderBatchCreate, RenderBatchOut, RenderCreate, RenderOut
from api.uploads.service import find as find_upload
from core.jobs import lifecycle
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JOB_FINISHED, JobState
from core.jobs.tables import Identity, Job, Render, RenderBatch


def find(session: Session, tenant: str, render_id: str) -> Render:
    """The tenant's render.

    Raises:
        NotFoundError: no such render, its identity was deleted, or not this tenant's.
    """
    mine = (Render.id == render_id, Render.tenant_id == tenant, Identity.deleted_at.is_(None))
    render = session.scalar(select(Render).join(Identity, Identity.id == Render.identity_id).where(*mine))
    if render is None:
        raise NotFoundError("render")
    return render


def create(
    session: Session, platform: Platform, tenant: str, body: RenderCreate, batch_id: str | None = None
) -> tuple[Render, Job]:
    """Add a render and its job.

    Raises:
        NotFoundError: no such identity or upload.
        ApiError: `identity_not_ready`.
    """
    identity = ready_identity(session, tenant, body.identity)
    upload = find_upload(session, tenant, body.upload)
    render_id = new_id("rnd")
    options = {"size": body.size, "background": body.background, "label": body.label}
    bundle = {"key": identity.bundle_key, "name": "avatar.likeness", "sha256": identity.bundle_sha256}
    job = lifecycle.submit(
        session,
        tenant_id=tenant,
        kind=JobKind.RENDER,
        subject_id=render_id,
        inputs={"bundle": bundle, "audio": input_file(upload, "audio"), "options": options},
        max_attempts=platform.settings.max_attempts,
        priority=body.priority,
        deadline_s=body.deadline_s,
        awaiting_upload_id=None if upload.state == "complete" else upload.id,
    )
    render = Render(
        id=render_id,
        tenant_id=tenant,
        identity_id=identity.id,
        batch_id=batch_id,
        upload_id=upload.id,
        job_id=job.id,
        options=options,
    )
    session.add(render)
    session.flush()
    session.refresh(job)
    return render, job


def create_batch(session: Session, platform: Platform, tenant: str, body: RenderBatchCreate) -> RenderBatchOut:
    """Add all renders of a batch, or none.

    Raises:
        ApiError: `batch_too_large`, `identity_not_ready`.
        NotFoundError: no such identity or upload.
    """
    limit = platform.settings.max_batch_items
    if len(body.items) > limit:
        raise ApiError("batch_too_large", f"A batch may have {limit} items at most.", "Send several batches.")
    batch = RenderBatch(id=new_id("bat"), tenant_id=tenant)
    session.add(batch)
    session.flush()
    made = [create(session, platform, tenant, item, batch.id) for item in body.items]
    return describe_batch(batch, [describe(render, job) for render, job in made])


def read_batch(session: Session, tenant: str, batch_id: str) -> RenderBatchOut:
    """The tenant's batch, with every render.

    Raises:
        NotFoundError: no such batch, or not this tenant's.
    """
    batch = session.scalar(select(RenderBatch).where(RenderBatch.id == batch_id, RenderBatch.tenant_id == tenant))
    if batch is None:
        raise NotFoundError("render batch")
    renders = session.scalars(select(Render).where(Render.batch_id == batch_id).order_by(Render.id)).all()
    return describe_batch(batch, describe_all(session, renders))


def describe(render: Render, job: Job) -> RenderOut:
    """The render as the API shows it."""
    output = None
    if render.output_key is not None:
        url = f"/v1/renders/{render.id}/output"
        output = FileOut(url=url, size=render.output_size or 0, sha256=render.output_sha256 or "")
    return RenderOut(
        id=render.id,
        identity=render.identity_id,
        upload=render.upload_id,
        batch=render.batch_id,
        state=JobState(job.state),
        job=render.job_id,
        output=output,
        result=render.result,
        created_at=render.created_at,
    )


def describe_all(session: Session, renders: Sequence[Render]) -> list[RenderOut]:
    """The renders of a list, with one query for all their jobs."""
    wanted = select(Job).where(Job.id.in_([render.job_id for render in renders]))
    jobs = {job.id: job for job in session.scalars(wanted)}
    return [describe(render, jobs[render.job_id]) for render in renders]


def describe_batch(batch: RenderBatch, renders: list[RenderOut]) -> RenderBatchOut:
    """The batch as the API shows it."""
    states = [render.state for render in renders]
    if any(state not in JOB_FINISHED for state in states):
        return RenderBatchOut(id=batch.id, state="running", renders=renders, created_at=batch.created_at)
    good = all(state is JobState.SUCCEEDED for state in states)
    return RenderBatchOut(
        id=batch.id, state="succeeded" if good else "failed", renders=renders, created_at=batch.created_at
    )
