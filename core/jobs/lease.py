"""The worker's side of a stage: claim it, keep the lease alive, and end it.

A claim is one compare-and-set UPDATE that raises the attempt number. That number is the fencing token: every later
write names it, so a worker that froze and woke up after another took over changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.errors import LikenessError
from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind, overall_progress
from core.jobs.outbox import hint
from core.jobs.results import keep_result
from core.jobs.states import JobState, StageState
from core.jobs.steps import (
    JobError,
    changed,
    close_attempt,
    end_job,
    lock_job,
    move_job,
    queue_stage,
    settle_job,
    unfinished_segments,
)
from core.jobs.tables import Job, StageRun


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
    segment: int
    """Which part of the stage, 0 ... segments - 1."""
    segments: int
    attempt: int
    """The fencing token."""
    max_attempts: int
    resumed_from: float
    """Progress, 0..1, that an earlier attempt reached."""
    checkpoint: dict[str, Any] | None
    inputs: dict[str, Any]
    origin: dict[str, str] | None
    """See `Job.origin`."""
    outputs: dict[tuple[str, int], dict[str, Any]]
    """What the finished stages of the job made: (stage, segment) -> `StageRun.output`."""


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
            parts = select(func.avg(StageRun.progress)).where(
                StageRun.job_id == claim.job_id, StageRun.position == claim.position
            )
            whole = float(session.scalar(parts) or 0.0)
            events.append(
                session,
                job,
                "job.progress",
                state=job.state,
                stage=claim.stage,
                stage_progress=round(whole, 4),
                progress=round(overall_progress(claim.kind, claim.position, whole), 4),
                attempt=claim.attempt,
            )
        if job.cancel_requested_at is not None:
            return Directive.CANCEL
        overdue = select(Job.id).where(Job.id == job.id, Job.deadline_at < database_now())
        return Directive.EXPIRE if session.scalar(overdue) else Directive.CONTINUE


def save_checkpoint(database: Database, claim: Claim, checkpoint: dict[str, Any] | None) -> None:
    """Record where the files are from which a later attempt can go on.

    Raises:
        LeaseLostError: this attempt is not the current one.
    """
    with database.write() as session:
        if changed(session, _fenced(claim, checkpoint=checkpoint)) == 0:
            raise LeaseLostError


def finish(
    database: Database,
    claim: Claim,
    max_attempts: int,
    publish: Callable[[Session], None] | None = None,
    *,
    output: dict[str, Any] | None = None,
    result: str | None = None,
    reused: bool = False,
) -> dict[str, Any] | None:
    """End the stage well. The next stage and its message, or the job's end, are written in the same transaction.

    Where the stage has several segments, that happens when the last of them ends.

    Args:
        database: where.
        claim: of the stage.
        max_attempts: of the stage that comes next.
        publish: writes the rows that point at the job's result; called only when the last stage ends.
        output: see `StageRun.output`; its `fan_out` is the number of segments of the next stage, 1 if absent.
        result: the hash under which the output is kept for others (`core.jobs.results`); None keeps it for nobody.
        reused: the output was there already, and nothing had to be computed.

    Returns:
        The output that the stage has now: another job may have kept an equal one first.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    last = claim.position + 1 == len(STAGES[claim.kind])
    with database.write() as session:
        values = {"progress": 1.0, "output": output, "checkpoint": None}
        job, stage_run = _end_stage(session, claim, StageState.SUCCEEDED, **values)
        if result is not None and output is not None:
            kept = keep_result(session, claim.tenant_id, job.id, claim.stage, result, output)
            if not last and kept != output:
                output = stage_run.output = kept
                session.flush()
        told = {"segment": claim.segment} if claim.segments > 1 else {}
        events.append(session, job, "stage.succeeded", stage=claim.stage, attempt=claim.attempt, reused=reused, **told)
        if unfinished_segments(session, job.id, claim.position):
            settle_job(session, job)
        elif last:
            if publish is not None:
                publish(session)
            end_job(session, job, JobState.SUCCEEDED, stage_run)
        elif job.cancel_requested_at is not None:
            end_job(session, job, JobState.CANCELLED, stage_run)
        else:
            queue_stage(session, job, claim.position + 1, max_attempts, int((output or {}).get("fan_out", 1)))
            move_job(session, job.id, JobState.QUEUED)
    return output


def fail(database: Database, claim: Claim, error: JobError, *, rejected: bool = False) -> None:
    """End the stage and its job badly: `rejected` where the input is at fault, else failed.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    state = StageState.REJECTED if rejected else StageState.FAILED
    with database.write() as session:
        job, stage_run = _end_stage(session, claim, state, error_code=error.code)
        end_job(session, job, JobState(state), stage_run, error)


def fail_attempt(database: Database, claim: Claim, error: JobError, pause_seconds: float) -> None:
    """End this attempt for a reason that may pass: the stage is tried again after a pause, or is a dead letter.

    Raises:
        LeaseLostError: this attempt is not the current one; nothing was written.
    """
    if claim.attempt >= claim.max_attempts:
        fail(database, claim, error)
        return
    with database.write() as session:
        if not hand_back(session, claim.stage_run_id, claim.attempt, "failed", error=error, pause=pause_seconds):
            raise LeaseLostError


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


def succeeded_by(database: Database, claim: Claim) -> bool:
    """Whether the stage ended well in this very attempt: what a `finish` asks whose answer was lost on the way."""
    with database.read() as session:
        stage_run = session.get_one(StageRun, claim.stage_run_id)
        return stage_run.state == StageState.SUCCEEDED and stage_run.attempt == claim.attempt


def hand_back(
    session: Session,
    stage_run_id: str,
    attempt: int,
    outcome: str,
    *,
    extra_attempts: int = 0,
    error: JobError | None = None,
    pause: float = 0.0,
) -> bool:
    """Put a running stage back into its queue, with its message. Returns False where the attempt is not current."""
    job = lock_job(session, session.get_one(StageRun, stage_run_id).job_id)
    back = update(StageRun).where(
        StageRun.id == stage_run_id, StageRun.attempt == attempt, StageRun.state == StageState.RUNNING
    )
    code = error.code if error is not None else None
    values: dict[str, Any] = {
        "state": StageState.QUEUED,
        "lease_owner": None,
        "lease_until": None,
        "error_code": code,
        "queued_at": database_now(),
        "hinted_at": database_now(),
        "available_at": database_now() + pause,
        "max_attempts": StageRun.max_attempts + extra_attempts,
    }
    if job is None or changed(session, back.values(values)) == 0:
        return False
    close_attempt(session, stage_run_id, outcome, code)
    stage_run = session.get_one(StageRun, stage_run_id, populate_existing=True)
    hint(session, stage_run, delay=pause)
    state = settle_job(session, job)
    events.append(
        session, job, "stage.requeued", stage=stage_run.stage, attempt=attempt, reason=code or outcome, state=state
    )
    return True


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
    job = lock_job(session, claim.job_id)
    ended = {"state": state, "lease_owner": None, "lease_until": None, "finished_at": database_now(), **values}
    if job is None or changed(session, _fenced(claim, **ended)) == 0:
        raise LeaseLostError
    close_attempt(session, claim.stage_run_id, str(state), values.get("error_code"))
    return job, session.get_one(StageRun, claim.stage_run_id, populate_existing=True)
