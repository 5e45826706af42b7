"""Identities of a tenant: made by a job from an upload, deleted with everything that was made of them."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.deps import Platform
from api.identities.schemas import FileOut, IdentityCreate, IdentityCreated, IdentityOut
from api.jobs.schemas import describe as describe_job
from api.problems import ApiError, NotFoundError
from api.umfs.service import umf_option
from api.uploads.service import find as find_upload
from core.jobs import lifecycle
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JobState
from core.jobs.steps import changed
from core.jobs.tables import Identity, Job, Render, Upload
from core.jobs.view import view_job

_STATES = {
    JobState.AWAITING_UPLOAD: "waiting",
    JobState.QUEUED: "adapting",
    JobState.RUNNING: "adapting",
    JobState.SUCCEEDED: "ready",
}
_SAFE_SUFFIX_LENGTH = 6


def find(session: Session, tenant: str, identity_id: str) -> Identity:
    """The tenant's identity.

    Raises:
        NotFoundError: no such identity, deleted, or not this tenant's.
    """
    mine = (Identity.id == identity_id, Identity.tenant_id == tenant, Identity.deleted_at.is_(None))
    identity = session.scalar(select(Identity).where(*mine))
    if identity is None:
        raise NotFoundError("identity")
    return identity


def create(session: Session, platform: Platform, tenant: str, body: IdentityCreate) -> IdentityCreated:
    """Add an identity and the job that makes it.

    Raises:
        NotFoundError: no such upload.
        ApiError: `umf_unknown`.
    """
    upload = find_upload(session, tenant, body.upload)
    identity_id = new_id("idt")
    options = {
        "profile": body.profile,
        "start_s": body.start_s,
        "seconds": body.seconds,
        "umf": umf_option(platform, body.umf),
    }
    job = lifecycle.submit(
        session,
        tenant_id=tenant,
        kind=JobKind.ADAPT,
        subject_id=identity_id,
        inputs={"video": input_file(upload, "video"), "options": options},
        max_attempts=platform.settings.max_attempts,
        priority=body.priority,
        deadline_s=body.deadline_s,
        awaiting_upload_id=None if upload.state == "complete" else upload.id,
    )
    identity = Identity(
        id=identity_id,
        tenant_id=tenant,
        name=body.name,
        upload_id=upload.id,
        job_id=job.id,
        profile=body.profile,
        umf=body.umf,
        consent_attested=body.consent_attested,
    )
    session.add(identity)
    session.flush()
    session.refresh(job)
    return IdentityCreated(identity=describe(identity, job), job=describe_job(view_job(session, job)))


def input_file(upload: Upload, name: str) -> dict[str, str]:
    """An upload as a stage's input: the object's key, and a file name that keeps only a harmless suffix."""
    suffix = PurePosixPath(upload.filename).suffix.lower()
    harmless = len(suffix) <= _SAFE_SUFFIX_LENGTH and suffix[1:].isalnum() and suffix.isascii()
    return {"key": upload.object_key, "name": name + (suffix if harmless else ""), "sha256": upload.sha256}


def delete(session: Session, tenant: str, identity_id: str) -> list[str]:
    """Delete an identity: its jobs stop, a tombstone stays. Returns the keys of the objects to remove after commit."""
    identity = find(session, tenant, identity_id)
    changed(session, update(Identity).where(Identity.id == identity_id).values(deleted_at=database_now()))
    renders = session.scalars(select(Render).where(Render.identity_id == identity_id)).all()
    for job_id in (identity.job_id, *(render.job_id for render in renders)):
        with contextlib.suppress(lifecycle.JobConflictError):
            lifecycle.cancel(session, job_id)
    keys = [identity.bundle_key, *(render.output_key for render in renders)]
    others = select(Identity.id).where(Identity.upload_id == identity.upload_id, Identity.deleted_at.is_(None)).limit(1)
    if session.scalar(others) is None:
        keys.append(session.get_one(Upload, identity.upload_id).object_key)
    return [key for key in keys if key is not None]


def describe(identity: Identity, job: Job) -> IdentityOut:
    """The identity as the API shows it."""
    bundle = None
    if identity.bundle_key is not None:
        bundle = FileOut(
            url=f"/v1/identities/{identity.id}/bundle",
            size=identity.bundle_size or 0,
            sha256=identity.bundle_sha256 or "",
        )
    return IdentityOut(
        id=identity.id,
        name=identity.name,
        state=_STATES.get(JobState(job.state), job.state),  # type: ignore[arg-type]
        profile=identity.profile,
        umf=identity.umf,
        upload=identity.upload_id,
        job=identity.job_id,
        bundle=bundle,
        created_at=identity.created_at,
    )


def ready(session: Session, tenant: str, identity_id: str) -> Identity:
    """The tenant's identity, which has a bundle.

    Raises:
        ApiError: `identity_not_ready`.
        NotFoundError: no such identity.
    """
    identity = find(session, tenant, identity_id)
    if identity.bundle_key is None:
        state = session.get_one(Job, identity.job_id).state
        raise ApiError("identity_not_ready", f"The identity's job is {state}.", "Wait until its job has succeeded.")
    return identity
