"""The caller's side of a job: submit it, cancel it, retry it. All in the caller's own transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import LikenessError
from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.outbox import hint
from core.jobs.states import JOB_FINISHED, JOB_RETRYABLE, JobState, StageState
from core.jobs.steps import changed, end_job, move_job, queue_stage
from core.jobs.tables import Job, StageRun


class JobConflictError(LikenessError):
    """The job is not in a state in which this can be asked of it."""


def submit(
    session: Session,
    *,
    tenant_id: str,
    kind: JobKind,
    subject_id: str,
    inputs: dict[str, Any],
    max_attempts: int,
    priority: int = 0,
    deadline_s: float | None = None,
    awaiting_upload_id: str | None = None,
) -> Job:
    """Add a job and its first stage; with `awaiting_upload_id`, the stage is added when that upload is complete.

    Args:
        session: a writing session; nothing is visible before its commit.
        tenant_id: the owner.
        kind: what to make.
        subject_id: the identity or render that the job makes.
        inputs: what the stages need to know, as JSON.
        max_attempts: attempts of each stage before it is a dead letter.
        priority: higher runs earlier.
        deadline_s: seconds from now after which the job expires.
        awaiting_upload_id: an upload that is not complete yet.
    """
    job = Job(
        id=new_id("job"),
        tenant_id=tenant_id,
        kind=kind,
        subject_id=subject_id,
        state=JobState.QUEUED if awaiting_upload_id is None else JobState.AWAITING_UPLOAD,
        priority=priority,
        inputs=inputs,
        awaiting_upload_id=awaiting_upload_id,
    )
    session.add(job)
    session.flush()
    if deadline_s is not None:
        changed(session, update(Job).where(Job.id == job.id).values(deadline_at=database_now() + deadline_s))
    events.append(session, job, f"job.{job.state}", state=job.state)
    if awaiting_upload_id is None:
        queue_stage(session, job, 0, max_attempts)
    return job


def release_waiting(session: Session, upload_id: str, max_attempts: int) -> None:
    """Queue the jobs that waited for this upload."""
    waiting = select(Job).where(Job.awaiting_upload_id == upload_id, Job.state == JobState.AWAITING_UPLOAD)
    for job in session.scalars(waiting).all():
        queue_stage(session, job, 0, max_attempts)
        move_job(session, job.id, JobState.QUEUED, awaiting_upload_id=None)
        events.append(session, job, "job.queued", state=JobState.QUEUED)


def cancel(session: Session, job_id: str) -> None:
    """Cancel a job: at once where no worker runs it, else its worker is told at its next heartbeat.

    Raises:
        JobConflictError: `job_finished`, there is nothing left to cancel. A cancelled job is left alone.
    """
    queued = update(StageRun).where(StageRun.job_id == job_id, StageRun.state == StageState.QUEUED)
    changed(session, queued.values(state=StageState.CANCELLED, finished_at=database_now()))
    job = session.get_one(Job, job_id, populate_existing=True)
    if job.state == JobState.CANCELLED:
        return
    if job.state in JOB_FINISHED:
        raise JobConflictError("job_finished", f"The job is {job.state} already.", "Only a live job can be cancelled.")
    asked = update(Job).where(Job.id == job_id, Job.cancel_requested_at.is_(None))
    changed(session, asked.values(cancel_requested_at=database_now()))
    if job.state == JobState.RUNNING:
        events.append(session, job, "job.cancel_requested", state=job.state)
    else:
        end_job(session, job, JobState.CANCELLED, None)


def retry(session: Session, job_id: str, max_attempts: int) -> None:
    """Queue the stage at which a job stopped again, with fresh attempts; finished stages are not repeated.

    Raises:
        JobConflictError: `job_not_retryable`, the job is live, done, or its input was rejected.
    """
    job = session.get_one(Job, job_id, populate_existing=True)
    if job.state not in JOB_RETRYABLE or job.awaiting_upload_id is not None:
        raise JobConflictError(
            "job_not_retryable",
            f"A job that is {job.state} can't be retried.",
            "Retry failed, cancelled or expired jobs; submit rejected input anew after mending it.",
        )
    stage_run = session.scalars(
        select(StageRun).where(StageRun.job_id == job_id).order_by(StageRun.position.desc()).limit(1)
    ).one()
    if stage_run.state == StageState.SUCCEEDED:
        queue_stage(session, job, stage_run.position + 1, max_attempts)
    else:
        again: dict[str, Any] = {
            "state": StageState.QUEUED,
            "max_attempts": StageRun.attempt + max_attempts,
            "error_code": None,
            "finished_at": None,
            "queued_at": database_now(),
            "hinted_at": database_now(),
        }
        changed(session, update(StageRun).where(StageRun.id == stage_run.id).values(again))
        hint(session, stage_run)
    cleared = dict.fromkeys(
        ("cancel_requested_at", "deadline_at", "error_code", "error_message", "error_hint", "error_retryable")
    )
    move_job(session, job_id, JobState.QUEUED, **cleared)
    events.append(session, job, "job.retried", state=JobState.QUEUED, stage=stage_run.stage)
