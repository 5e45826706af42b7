"""The single steps that every change of a job is made of. Each is guarded: it changes a row only from an allowed state.

Locks are taken in one order everywhere, the stage's row before its job's: two changes never wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Update, update
from sqlalchemy.orm import Session

from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.kinds import STAGES, JobKind
from core.jobs.outbox import hint
from core.jobs.states import JobState, StageState, sources
from core.jobs.tables import Attempt, Job, StageRun


@dataclass(frozen=True)
class JobError:
    """Why a job ended badly, in the terms of `core.errors`."""

    code: str
    message: str
    hint: str = ""
    retryable: bool = False


def changed(session: Session, statement: Update) -> int:
    """Execute an UPDATE. Returns how many rows it changed."""
    result = cast(CursorResult[Any], session.execute(statement.execution_options(synchronize_session=False)))
    return result.rowcount


def move_job(session: Session, job_id: str, target: JobState, **values: Any) -> bool:
    """Bring the job to `target` if the transition table allows it from where it is. Returns whether it did."""
    if target in (JobState.QUEUED, JobState.RUNNING):
        values.setdefault("finished_at", None)
    else:
        values.setdefault("finished_at", database_now())
    statement = update(Job).where(Job.id == job_id, Job.state.in_(sources(target))).values(state=target, **values)
    return changed(session, statement) == 1


def end_job(
    session: Session, job: Job, target: JobState, stage: StageRun | None, error: JobError | None = None
) -> None:
    """Bring the job to a final state and say so."""
    reason: dict[str, Any] = {}
    if error is not None:
        reason = {
            "error_code": error.code,
            "error_message": error.message,
            "error_hint": error.hint,
            "error_retryable": error.retryable,
        }
    if not move_job(session, job.id, target, **reason):
        return
    described = {"code": error.code, "message": error.message, "hint": error.hint} if error else None
    events.append(
        session, job, f"job.{target}", state=target, stage=stage.stage if stage is not None else None, error=described
    )


def queue_stage(session: Session, job: Job, position: int, max_attempts: int) -> StageRun:
    """Add the stage at `position` (0-based) of the job's kind, and its message."""
    kind = STAGES[JobKind(job.kind)][position]
    stage_run = StageRun(
        id=new_id("stg"),
        job_id=job.id,
        tenant_id=job.tenant_id,
        position=position,
        stage=kind.name,
        queue=kind.queue,
        priority=job.priority,
        state=StageState.QUEUED,
        max_attempts=max_attempts,
    )
    session.add(stage_run)
    session.flush()
    hint(session, stage_run)
    return stage_run


def close_attempt(session: Session, stage_run_id: str, outcome: str, error_code: str | None = None) -> None:
    """End the attempt of a stage that is still open in the history."""
    statement = update(Attempt).where(Attempt.stage_run_id == stage_run_id, Attempt.ended_at.is_(None))
    changed(session, statement.values(ended_at=database_now(), outcome=outcome, error_code=error_code))
