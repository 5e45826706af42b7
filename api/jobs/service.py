"""Jobs of a tenant: look, cancel, retry."""

from __future__ import annotations

import hashlib

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Platform
from api.jobs.schemas import JobOut, describe
from api.problems import NotFoundError
from core.accounts.quotas import check_jobs
from core.consents.service import require_valid
from core.consents.tables import Consent
from core.jobs import lifecycle
from core.jobs.kinds import JobKind
from core.jobs.tables import Identity, Job, Render, Umf
from core.jobs.view import view_job


def find(session: Session, tenant: str, job_id: str) -> Job:
    """The tenant's job.

    Raises:
        NotFoundError: no such job, or not this tenant's.
    """
    job = session.scalar(select(Job).where(Job.id == job_id, Job.tenant_id == tenant))
    if job is None:
        raise NotFoundError("job")
    return job


def read(session: Session, tenant: str, job_id: str) -> JobOut:
    """The job as the API shows it."""
    return describe(view_job(session, find(session, tenant, job_id)))


def read_json(platform: Platform, tenant: str, job_id: str) -> bytes:
    """The same as JSON, in a session of its own."""
    with platform.database.read() as session:
        return read(session, tenant, job_id).model_dump_json().encode()


def cancel(session: Session, tenant: str, job_id: str) -> JobOut:
    """Ask the job to stop. See `core.jobs.lifecycle.cancel`."""
    find(session, tenant, job_id)
    lifecycle.cancel(session, job_id)
    session.expire_all()
    return read(session, tenant, job_id)


def retry(session: Session, platform: Platform, tenant: str, job_id: str) -> JobOut:
    """Go on from the stage at which the job stopped. See `core.jobs.lifecycle.retry`.

    Raises:
        NotFoundError: what the job was to make has been deleted.
        ConsentError: `consent_not_valid`.
        TooManyJobsError: `too_many_jobs`.
    """
    job = find(session, tenant, job_id)
    if not _wanted(session, job):
        raise NotFoundError("identity or motion field")
    check_jobs(session, platform.settings, tenant)
    lifecycle.retry(session, job_id, platform.settings.max_attempts)
    session.expire_all()
    return read(session, tenant, job_id)


def _wanted(session: Session, job: Job) -> bool:
    """Whether what the job makes has not been deleted, and its consent holds."""
    if job.kind == JobKind.PRETRAIN:
        umf = session.get(Umf, job.subject_id)
        return umf is not None and umf.deleted_at is None
    render = session.get(Render, job.subject_id)
    identity = session.get(Identity, render.identity_id if render is not None else job.subject_id)
    if identity is None or identity.deleted_at is not None:
        return False
    consent = session.get(Consent, identity.consent_id)
    if consent is not None:
        require_valid(session, consent)
    return True


def answer(body: bytes, known: str | None) -> Response:
    """The job's JSON with an ETag, or 304 where the caller has this answer."""
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if known is not None and etag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
