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
from core.jobs.steps import changed, end_job, lock_job, move_job, queue_stage
from core.jobs.tables import Job, StageRun
from core.telemetry import current_origin


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
    awaiting_consent_id: str | None = None,
) -> Job:
    """Add a job and its first stage; with something to wait for, the stage is added when all of that is there.

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
        awaiting_consent_id: a consent that is not verified yet.
    """
    job = Job(
        id=new_id("job"),
        tenant_id=tenant_id,
        kind=kind,
        subject_id=subject_id,
        state=_first_state(awaiting_upload_id, awaiting_consent_id),
        priority=priority,
        inputs=inputs,
        origin=current_origin(),
        awaiting_upload_id=awaiting_upload_id,
        awaiting_consent_id=awaiting_consent_id,
    )
    session.add(job)
    session.flush()
    if deadline_s is not None:
        changed(session, update(Job).where(Job.id == job.id).values(deadline_at=database_now() + deadline_s))
    events.append(session, job, f"job.{job.state}", state=job.state)
    if job.state == JobState.QUEUED:
        queue_stage(session, job, 0, max_attempts)
    return job


def release_waiting(session: Session, upload_id: str, max_attempts: int) -> None:
    """The upload is complete: queue the jobs that waited for it, or let them wait for their consent."""
    waiting = select(Job).where(Job.awaiting_upload_id == upload_id, Job.state == JobState.AWAITING_UPLOAD)
    for job in session.scalars(waiting).all():
        if job.awaiting_consent_id is not None:
            move_job(session, job.id, JobState.AWAITING_CONSENT, awaiting_upload_id=None)
            events.append(session, job, "job.awaiting_consent", state=JobState.AWAITING_CONSENT)
        else:
            _queue_first(session, job, max_attempts, awaiting_upload_id=None)


def release_consented(session: Session, consent_id: str, max_attempts: int) -> None:
    """The consent is verified: queue the jobs that waited for it alone; who waits for an upload goes on doing so."""
    for job in session.scalars(select(Job).where(Job.awaiting_consent_id == consent_id)).all():
        if job.state == JobState.AWAITING_CONSENT:
            _queue_first(session, job, max_attempts, awaiting_consent_id=None)
        else:
            changed(session, update(Job).where(Job.id == job.id).values(awaiting_consent_id=None))


def _first_state(awaiting_upload_id: str | None, awaiting_consent_id: str | None) -> JobState:
    if awaiting_upload_id is not None:
        return JobState.AWAITING_UPLOAD
    return JobState.QUEUED if awaiting_consent_id is None else JobState.AWAITING_CONSENT


def _queue_first(session: Session, job: Job, max_attempts: int, **values: Any) -> None:
    queue_stage(session, job, 0, max_attempts)
    move_job(session, job.id, JobState.QUEUED, **values)
    events.append(session, job, "job.queued", state=JobState.QUEUED)


def cancel(session: Session, job_id: str) -> None:
    """Cancel a job: at once where no worker runs it, else its workers are told at their next heartbeat.

    Raises:
        JobConflictError: `job_finished`, there is nothing left to cancel. A cancelled job is left alone.
    """
    job = _locked(session, job_id)
    if job.state == JobState.CANCELLED:
        return
    if job.state in JOB_FINISHED:
        raise JobConflictError("job_finished", f"The job is {job.state} already.", "Only a live job can be cancelled.")
    queued = update(StageRun).where(StageRun.job_id == job_id, StageRun.state == StageState.QUEUED)
    changed(session, queued.values(state=StageState.CANCELLED, finished_at=database_now()))
    asked = update(Job).where(Job.id == job_id, Job.cancel_requested_at.is_(None))
    changed(session, asked.values(cancel_requested_at=database_now()))
    if job.state == JobState.RUNNING:
        events.append(session, job, "job.cancel_requested", state=job.state)
    else:
        end_job(session, job, JobState.CANCELLED, None)


def retry(session: Session, job_id: str, max_attempts: int) -> None:
    """Queue the stage at which a job stopped again, with fresh attempts; what is finished is not repeated.

    Raises:
        JobConflictError: `job_not_retryable`, the job runs, succeeded, or had its input rejected.
    """
    job = _locked(session, job_id)
    waits = job.awaiting_upload_id is not None or job.awaiting_consent_id is not None
    if job.state not in JOB_RETRYABLE or waits:
        raise JobConflictError(
            "job_not_retryable",
            f"A job that is {job.state} can't be retried.",
            "Retry failed, cancelled or expired jobs; submit rejected input anew after mending it.",
        )
    stages = session.scalars(
        select(StageRun).where(StageRun.job_id == job_id).order_by(StageRun.position.desc(), StageRun.segment)
    ).all()
    last = [stage_run for stage_run in stages if stage_run.position == stages[0].position]
    stopped = [stage_run for stage_run in last if stage_run.state != StageState.SUCCEEDED]
    if not stopped:
        segments = int((last[0].output or {}).get("fan_out", 1))
        stopped = queue_stage(session, job, last[0].position + 1, max_attempts, segments)
    else:
        for stage_run in stopped:
            _queue_again(session, stage_run, max_attempts)
    cleared = dict.fromkeys(
        ("cancel_requested_at", "deadline_at", "error_code", "error_message", "error_hint", "error_retryable")
    )
    move_job(session, job_id, JobState.QUEUED, **cleared)
    events.append(session, job, "job.retried", state=JobState.QUEUED, stage=stopped[0].stage)


def _queue_again(session: Session, stage_run: StageRun, max_attempts: int) -> None:
    again: dict[str, Any] = {
        "state": StageState.QUEUED,
        "max_attempts": StageRun.attempt + max_attempts,
        "error_code": None,
        "finished_at": None,
        "queued_at": database_now(),
        "hinted_at": database_now(),
        "available_at": database_now(),
    }
    changed(session, update(StageRun).where(StageRun.id == stage_run.id).values(again))
    hint(session, stage_run)


def _locked(session: Session, job_id: str) -> Job:
    job = lock_job(session, job_id)
    if job is None:
        raise LookupError(f"no job {job_id}")
    return job
