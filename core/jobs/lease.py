"""The worker's side of a stage: claim it, keep the lease alive, and end it.

A claim is one compare-and-set UPDATE that raises the attempt number. That number is the fencing token: every later
write names it, so a worker that froze and woke up after another took over changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from core.errors import LikenessError
from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind, overall_progress
from core.jobs.outbox import hint
from core.jobs.states import JobState, StageState
from core.jobs.steps import JobError, changed, close_attempt, end_job, move_job, queue_stage
from core.jobs.tables import Attempt, Job, StageRun

CANDIDATES = 8


class LeaseLostError(LikenessError):
    """Another attempt, or the reaper, has taken the stage over: this attempt may write no more."""

    def __init__(self) -> None:
        super().__init__("lease_lost", "The stage belongs to another attempt now.", "Nothing to do: it goes on there.")


class Directive(StrEnum):
    """What a heartbeat tells the worker."""

    CONTINUE = "continue"
    CANCEL = "cancel"
    EXPIRE = "expire"
    LOST = "lost"


@dataclass(frozen=True)
class Claim:
    """The right to run one stage, until the lease ends."""

    stage_run_id: str
    job_id: str
    tenant_id: str
    kind: JobKind
    subject_id: str
    stage: str
    position: int
    attempt: int
    """The fencing token."""
    max_attempts: int
    resumed_from: float
    """Progress, 0..1, that an earlier attempt reached."""
    checkpoint: dict[str, Any] | None
    inputs: dict[str, Any]


def claim_next(database: Database, queues: Sequence[str], owner: str, lease_seconds: float) -> Claim | None:
    """Take the queued stage whose turn it is: higher priority, then the tenant with fewer running stages, then age."""
    with database.write() as session:
        for stage_run_id in session.scalars(_candidates(queues)).all():
            claim = _take(session, stage_run_id, owner, lease_seconds)
            if claim is not None:
                return claim
    return None


def heartbeat(
    database: Database, claim: Claim, lease_seconds: float, progress: float, *, announce: bool = False
) -> Directive:
    """Renew the lease, record progress (0..1 of this stage), and learn whether to go on.

    `announce` adds a progress event; the caller decides how often.
    """
    with database.write() as session:
        values = {"lease_until": database_now() + lease_seconds, "progress": min(1.0, max(0.0, progress))}
        if changed(session, _fenced(claim, **values)) == 0:
            return Directive.LOST
        job = session.get_one(Job, claim.job_id)
        if announce:
            overall = round(overall_progress(claim.kind, claim.position, progress), 4)
            events.append(
                session,
                job,
                "job.progress",
                state=job.state,
                stage=claim.stage,
                stage_progress=round(progress, 4),
                progress=overall,
                attempt=claim.attempt,
            )
        if job.cancel_requested_at is not None:
            return Directive.CANCEL
        overdue = select(Job.id).where(Job.id == job.id, Job.deadline_at < database_now())
        return Directive.EXPIRE if session.scalar(overdue) else Directive.CONTINUE


def save_checkpoint(database: Database, claim: Claim, checkpoint: dict[str, Any]) -> None:
    """Record where the files are from which a later attempt can go on.

    Raises:
        LeaseLostError: this attempt is not the current one.
    """
    with database.write() as session:
        if changed(session, _fenced(claim, checkpoint=checkpoint)) == 0:
            raise LeaseLostError


def finish(
    database: Database, claim: Claim, max_attempts: int, publish: Callable[[Session], None] | None = None
) -> None:
    """End the stage well. The next stage and its message, or the job's end, are written in the same transaction.

    `publish` writes the rows that point at the job's result; it is called only when the last stage ends.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    with database.write() as session:
        job, stage_run = _end_stage(session, claim, StageState.SUCCEEDED, progress=1.0)
        events.append(session, job, "stage.succeeded", stage=claim.stage, attempt=claim.attempt)
        if claim.position + 1 == len(STAGES[claim.kind]):
            if publish is not None:
                publish(session)
            end_job(session, job, JobState.SUCCEEDED, stage_run)
        elif job.cancel_requested_at is not None:
            end_job(session, job, JobState.CANCELLED, stage_run)
        else:
            queue_stage(session, job, claim.position + 1, max_attempts)
            move_job(session, job.id, JobState.QUEUED)


def fail(database: Database, claim: Claim, error: JobError, *, rejected: bool = False) -> None:
    """End the stage and its job badly: `rejected` where the input is at fault, else failed.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    state = StageState.REJECTED if rejected else StageState.FAILED
    with database.write() as session:
        job, stage_run = _end_stage(session, claim, state, error_code=error.code)
        end_job(session, job, JobState(state), stage_run, error)


def stop(database: Database, claim: Claim, directive: Directive) -> None:
    """End the stage because a heartbeat said so (CANCEL or EXPIRE).

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    state = StageState.EXPIRED if directive is Directive.EXPIRE else StageState.CANCELLED
    with database.write() as session:
        job, stage_run = _end_stage(session, claim, state)
        end_job(session, job, JobState(state), stage_run)


def release(database: Database, claim: Claim) -> None:
    """Hand the stage back, not counted as an attempt: the worker is being stopped, the stage is not at fault.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    with database.write() as session:
        if not hand_back(session, claim.stage_run_id, claim.attempt, "released", extra_attempts=1):
            raise LeaseLostError


def hand_back(session: Session, stage_run_id: str, attempt: int, outcome: str, extra_attempts: int) -> bool:
    """Put a running stage back into its queue, with its message. Returns False where the attempt is not current."""
    back = update(StageRun).where(
        StageRun.id == stage_run_id, StageRun.attempt == attempt, StageRun.state == StageState.RUNNING
    )
    values: dict[str, Any] = {
        "state": StageState.QUEUED,
        "lease_owner": None,
        "lease_until": None,
        "queued_at": database_now(),
        "hinted_at": database_now(),
        "max_attempts": StageRun.max_attempts + extra_attempts,
    }
    if changed(session, back.values(values)) == 0:
        return False
    close_attempt(session, stage_run_id, outcome)
    stage_run = session.get_one(StageRun, stage_run_id, populate_existing=True)
    hint(session, stage_run)
    move_job(session, stage_run.job_id, JobState.QUEUED)
    job = session.get_one(Job, stage_run.job_id, populate_existing=True)
    events.append(
        session, job, "stage.requeued", stage=stage_run.stage, attempt=attempt, reason=outcome, state=job.state
    )
    return True


def _candidates(queues: Sequence[str]) -> Select[str]:
    other = aliased(StageRun)
    running = (
        select(func.count())
        .where(other.tenant_id == StageRun.tenant_id, other.state == StageState.RUNNING)
        .correlate(StageRun)
        .scalar_subquery()
    )
    return (
        select(StageRun.id)
        .join(Job, Job.id == StageRun.job_id)
        .where(
            StageRun.state == StageState.QUEUED,
            StageRun.queue.in_(queues),
            StageRun.attempt < StageRun.max_attempts,
            Job.cancel_requested_at.is_(None),
            or_(Job.deadline_at.is_(None), Job.deadline_at > database_now()),
        )
        .order_by(StageRun.priority.desc(), running, StageRun.queued_at, StageRun.id)
        .limit(CANDIDATES)
    )


def _take(session: Session, stage_run_id: str, owner: str, lease_seconds: float) -> Claim | None:
    take = update(StageRun).where(
        StageRun.id == stage_run_id,
        StageRun.state == StageState.QUEUED,
        StageRun.attempt < StageRun.max_attempts,
    )
    values: dict[str, Any] = {
        "state": StageState.RUNNING,
        "attempt": StageRun.attempt + 1,
        "lease_owner": owner,
        "lease_until": database_now() + lease_seconds,
        "started_at": database_now(),
        "finished_at": None,
        "error_code": None,
    }
    if changed(session, take.values(values)) == 0:
        return None
    stage_run = session.get_one(StageRun, stage_run_id, populate_existing=True)
    job = session.get_one(Job, stage_run.job_id, populate_existing=True)
    if not move_job(session, job.id, JobState.RUNNING, started_at=func.coalesce(Job.started_at, database_now())):
        session.rollback()
        return None
    session.add(
        Attempt(
            stage_run_id=stage_run.id,
            number=stage_run.attempt,
            owner=owner,
            resumed_from=stage_run.progress,
            started_at=stage_run.started_at,
        )
    )
    session.flush()
    events.append(
        session,
        job,
        "stage.started",
        state=JobState.RUNNING,
        stage=stage_run.stage,
        attempt=stage_run.attempt,
        progress=round(overall_progress(JobKind(job.kind), stage_run.position, stage_run.progress), 4),
    )
    return Claim(
        stage_run_id=stage_run.id,
        job_id=job.id,
        tenant_id=job.tenant_id,
        kind=JobKind(job.kind),
        subject_id=job.subject_id,
        stage=stage_run.stage,
        position=stage_run.position,
        attempt=stage_run.attempt,
        max_attempts=stage_run.max_attempts,
        resumed_from=stage_run.progress,
        checkpoint=stage_run.checkpoint,
        inputs=job.inputs,
    )


def _fenced(claim: Claim, **values: Any) -> Any:
    return (
        update(StageRun)
        .where(
            StageRun.id == claim.stage_run_id,
            StageRun.attempt == claim.attempt,
            StageRun.state == StageState.RUNNING,
        )
        .values(values)
    )


def _end_stage(session: Session, claim: Claim, state: StageState, **values: Any) -> tuple[Job, StageRun]:
    ended = {"state": state, "lease_owner": None, "lease_until": None, "finished_at": database_now(), **values}
    if changed(session, _fenced(claim, **ended)) == 0:
        raise LeaseLostError
    close_attempt(session, claim.stage_run_id, str(state), values.get("error_code"))
    job = session.get_one(Job, claim.job_id, populate_existing=True)
    return job, session.get_one(StageRun, claim.stage_run_id, populate_existing=True)
