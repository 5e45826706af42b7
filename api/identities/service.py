"""Identities of a tenant: made by a job under a consent, published when it succeeds, deleted down to a tombstone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.consents.service import find as find_consent
from api.deps import Platform
from api.identities.schemas import FileOut, IdentityCreate, IdentityCreated, IdentityOut
from api.inputs import input_file
from api.jobs.schemas import describe as describe_job
from api.problems import ApiError, NotFoundError
from api.umfs.service import umf_inputs
from api.uploads.service import find as find_upload
from core.accounts.quotas import check_jobs
from core.consents.erase import erase_identity
from core.consents.service import ConsentError, require_valid
from core.consents.tables import Consent, ConsentState
from core.jobs import lifecycle
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JobState
from core.jobs.tables import Identity, Job
from core.jobs.view import view_job

_STATES = {
    JobState.AWAITING_UPLOAD: "waiting",
    JobState.AWAITING_CONSENT: "waiting",
    JobState.QUEUED: "adapting",
    JobState.RUNNING: "adapting",
    JobState.SUCCEEDED: "ready",
}


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
        NotFoundError: no such upload or consent.
        ApiError: `consent_required`, `umf_unknown`, `umf_not_ready`, `upload_removed`.
        ConsentError: `consent_not_valid`.
        TooManyJobsError: `too_many_jobs`.
    """
    if body.consent is None:
        raise ApiError(
            "consent_required", "An avatar needs the consent of the person.", "POST /v1/consents, and give its id."
        )
    # Held until the commit: a revocation at the same moment comes before, and refuses, or after, and erases.
    consent = find_consent(session, tenant, body.consent, held=True)
    require_valid(session, consent)
    upload = find_upload(session, tenant, body.upload)
    check_jobs(session, platform.settings, tenant)
    identity_id = new_id("idt")
    umf, umf_file = umf_inputs(session, platform, tenant, body.umf)
    options = {
        "profile": body.profile,
        "start_s": body.start_s,
        "seconds": body.seconds,
        "umf": umf,
    }
    inputs: dict[str, Any] = {"video": input_file(upload, "video"), "options": options, "consent": consent.id}
    if umf_file is not None:
        inputs["umf"] = umf_file
    job = lifecycle.submit(
        session,
        tenant_id=tenant,
        kind=JobKind.ADAPT,
        subject_id=identity_id,
        inputs=inputs,
        max_attempts=platform.settings.max_attempts,
        priority=body.priority,
        deadline_s=body.deadline_s,
        awaiting_upload_id=None if upload.state == "complete" else upload.id,
        awaiting_consent_id=None if consent.state == ConsentState.VERIFIED else consent.id,
    )
    identity = Identity(
        id=identity_id,
        tenant_id=tenant,
        name=body.name,
        upload_id=upload.id,
        job_id=job.id,
        profile=body.profile,
        umf=body.umf,
        consent_id=consent.id,
        tags=body.metadata,
    )
    session.add(identity)
    session.flush()
    session.refresh(job)
    return IdentityCreated(identity=describe(identity, job), job=describe_job(view_job(session, job)))


def delete(session: Session, tenant: str, identity_id: str) -> list[str]:
    """Delete an identity: its jobs stop, a tombstone stays. Returns the keys of the objects to remove after commit."""
    return erase_identity(session, find(session, tenant, identity_id).id, "deleted")


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
        consent=identity.consent_id,
        job=identity.job_id,
        bundle=bundle,
        metadata=identity.tags,
        created_at=identity.created_at,
    )


def ready(session: Session, tenant: str, identity_id: str) -> Identity:
    """The tenant's identity, which has a bundle, and whose consent holds.

    Raises:
        ApiError: `identity_not_ready`.
        ConsentError: `consent_not_valid`.
        NotFoundError: no such identity.
    """
    identity = find(session, tenant, identity_id)
    consent = session.get(Consent, identity.consent_id)
    if consent is None:
        raise ConsentError("consent_not_valid", "The identity has no consent.", "Make a new one, with a consent.")
    require_valid(session, consent)
    if identity.bundle_key is None:
        state = session.get_one(Job, identity.job_id).state
        raise ApiError("identity_not_ready", f"The identity's job is {state}.", "Wait until its job has succeeded.")
    return identity
