"""Renders of a tenant: each is a job of its own."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Platform
from api.identities.schemas import FileOut
from api.identities.service import ready as ready_identity
from api.inputs import input_file
from api.problems import NotFoundError
from api.renders.schemas import RenderCreate, RenderOut
from api.uploads.service import find as find_upload
from core.accounts.quotas import check_jobs, check_video
from core.consents.tables import Consent, ConsentState
from core.jobs import lifecycle
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JobState
from core.jobs.tables import Identity, Job, Render


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
        ApiError: `identity_not_ready`, `upload_removed`.
        ConsentError: `consent_not_valid`.
        QuotaError: `quota_seconds`.
        TooManyJobsError: `too_many_jobs`.
    """
    identity = ready_identity(session, tenant, body.identity)
    _hold(session, identity)
    upload = find_upload(session, tenant, body.upload)
    check_video(session, platform.settings, tenant)
    check_jobs(session, platform.settings, tenant)
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
        tags=body.metadata,
    )
    session.add(render)
    session.flush()
    session.refresh(job)
    return render, job


def _hold(session: Session, identity: Identity) -> None:
    """Keep the identity as it is until the commit: it is erased before this render is made, or with it."""
    held = select(Identity.id).where(Identity.id == identity.id, Identity.deleted_at.is_(None))
    if session.scalar(held.with_for_update(read=True)) is None:
        raise NotFoundError("identity")
    consent = select(Consent.state).where(Consent.id == identity.consent_id).with_for_update(read=True)
    if session.scalar(consent) != ConsentState.VERIFIED:
        raise NotFoundError("identity")


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
        metadata=render.tags,
        created_at=render.created_at,
    )


def describe_all(session: Session, renders: Sequence[Render]) -> list[RenderOut]:
    """The renders of a list, with one query for all their jobs."""
    wanted = select(Job).where(Job.id.in_([render.job_id for render in renders]))
    jobs = {job.id: job for job in session.scalars(wanted)}
    return [describe(render, jobs[render.job_id]) for render in renders]
