"""The single steps that every change of a job is made of. Each is guarded: it changes a row only from an allowed state.

Locks are taken in one order everywhere: the job's row, then its stages, then what the job makes. So two changes never
wait for each other, and what the stages of one job add up to is decided by one writer at a time. A heartbeat locks
its own stage only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Update, func, select, update
from sqlalchemy.orm import Session

from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.kinds import STAGES, JobKind
from core.jobs.outbox import hint
from core.jobs.states import JobState, StageState, sources
from core.jobs.tables import Attempt, Job, StageRun

LIVE = (StageState.QUEUED, StageState.RUNNING)
_WAITING = (JobState.QUEUED, JobState.RUNNING, JobState.AWAITING_UPLOAD, JobState.AWAITING_CONSENT)


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


def lock_job(session: Session, job_id: str, *, skip_locked: bool = False) -> Job | None:
    """The job as it is now, held until the transaction ends. None with `skip_locked` where another writer holds it.

    Rows that point at the job can still be added meanwhile (`FOR NO KEY UPDATE`). In SQLite the whole database is held.
    """
    held = select(Job).where(Job.id == job_id).with_for_update(key_share=True, skip_locked=skip_locked)
    return session.scalars(held.execution_options(populate_existing=True)).one_or_none()


def move_job(session: Session, job_id: str, target: JobState, **values: Any) -> bool:
    """Bring the job to `target` if the transition table allows it from where it is. Returns whether it did."""
    values.setdefault("finished_at", None if target in _WAITING else database_now())
    statement = update(Job).where(Job.id == job_id, Job.state.in_(sources(target))).values(state=target, **values)
    return changed(session, statement) == 1


def settle_job(session: Session, job: Job) -> JobState:
    """After a stage of a live job changed: the job runs while one of its stages does, else it waits. Returns which."""
    running = select(StageRun.id).where(StageRun.job_id == job.id, StageRun.state == StageState.RUNNING).limit(1)
    target = JobState.QUEUED if session.scalar(running) is None else JobState.RUNNING
    if job.state != target:
        move_job(session, job.id, target)
    return target


def end_job(
    session: Session, job: Job, target: JobState, stage: StageRun | None, error: JobError | None = None
) -> None:
    """Bring the job to a final state and say so. Its other stages that wait or run end as cancelled."""
    reason: dict[str, Any] = {}
    if error is not None:
        reason = {
            "error_code": error.code,
            "error_message": error.message,
            "error_hint": error.hint,
            "error_retryable": error.retryable,
        }
    end_stages(session, job.id, StageState.CANCELLED)
    if not move_job(session, job.id, target, **reason):
        return
    described = {"code": error.code, "message": error.message, "hint": error.hint} if error else None
    events.append(
        session, job, f"job.{target}", state=target, stage=stage.stage if stage is not None else None, error=described
    )


def end_stages(session: Session, job_id: str, state: StageState) -> None:
    """End all live stages of a job. The worker of a running one learns at its next heartbeat that its lease is gone."""
    live = select(StageRun.id).where(StageRun.job_id == job_id, StageRun.state.in_(LIVE))
    for stage_run_id in session.scalars(live).all():
        one = update(StageRun).where(StageRun.id == stage_run_id, StageRun.state.in_(LIVE))
        ended = {"state": state, "lease_owner": None, "lease_until": None, "finished_at": database_now()}
        if changed(session, one.values(ended)):
            close_attempt(session, stage_run_id, str(state))


def queue_stage(session: Session, job: Job, position: int, max_attempts: int, segments: int = 1) -> list[StageRun]:
    """Add the stage at `position` (0-based) of the job's kind, in `segments` parts, and their messages."""
    kind = STAGES[JobKind(job.kind)][position]
    added = [
        StageRun(
            id=new_id("stg"),
            job_id=job.id,
            tenant_id=job.tenant_id,
            position=position,
            segment=segment,
            segments=segments,
            stage=kind.name,
            queue=kind.queue,
            priority=job.priority,
            state=StageState.QUEUED,
            max_attempts=max_attempts,
        )
        for segment in range(segments)
    ]
    session.add_all(added)
    session.flush()
    for stage_run in added:
        hint(session, stage_run)
    return added


def close_attempt(session: Session, stage_run_id: str, outcome: str, error_code: str | None = None) -> None:
    """End the attempt of a stage that is still open in the history."""
    statement = update(Attempt).where(Attempt.stage_run_id == stage_run_id, Attempt.ended_at.is_(None))
    changed(session, statement.values(ended_at=database_now(), outcome=outcome, error_code=error_code))


def unfinished_segments(session: Session, job_id: str, position: int) -> int:
    """How many parts of the stage at `position` have not succeeded."""
    open_parts = select(func.count()).where(
        StageRun.job_id == job_id, StageRun.position == position, StageRun.state != StageState.SUCCEEDED
    )
    return session.scalar(open_parts) or 0
