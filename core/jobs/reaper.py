"""Picks up what dead workers dropped: expired leases, passed deadlines, lost messages. Runs every second, anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import QUEUES
from core.jobs.lease import hand_back
from core.jobs.outbox import forget_sent, hint
from core.jobs.states import JobState, StageState
from core.jobs.steps import JobError, changed, close_attempt, end_job
from core.jobs.tables import Idempotency, Job, StageRun

IDEMPOTENCY_SECONDS = 24 * 3600.0
HINTS_PER_QUEUE = 4
DEAD_LETTER = JobError(
    "attempts_exhausted",
    "The workers that ran this stage died each time.",
    "The log of the workers says why; retry the job once that is mended.",
    retryable=True,
)


@dataclass(frozen=True)
class Reaped:
    """What one pass did."""

    requeued: int
    dead: int
    ended: int
    """Jobs cancelled or expired."""
    hinted: int

    def __bool__(self) -> bool:
        return bool(self.requeued or self.dead or self.ended or self.hinted)


def reap(database: Database, rehint_seconds: float) -> Reaped:
    """One pass over all stages that need help."""
    with database.read() as session:
        if not _anything(session, rehint_seconds):
            return Reaped(0, 0, 0, 0)
    with database.write() as session:
        expired = session.scalars(select(StageRun).where(_lease_over()).with_for_update(skip_locked=True)).all()
        requeued, dead, ended = _give_up(session, list(expired), "lost")
        return Reaped(requeued, dead, ended + _expire(session), _hint_again(session, rehint_seconds))


def reap_owner(database: Database, owner_prefix: str) -> Reaped:
    """Take the leases of workers that are known to be dead, without waiting for the leases to end."""
    with database.write() as session:
        held = select(StageRun).where(
            StageRun.state == StageState.RUNNING, StageRun.lease_owner.startswith(owner_prefix, autoescape=True)
        )
        requeued, dead, ended = _give_up(session, list(session.scalars(held).all()), "lost")
        return Reaped(requeued, dead, ended, 0)


def sweep(database: Database) -> None:
    """Delete rows that are only kept for a while: sent messages, answers to idempotent POSTs."""
    with database.write() as session:
        forget_sent(session)
        session.execute(delete(Idempotency).where(Idempotency.created_at < database_now() - IDEMPOTENCY_SECONDS))


def _lease_over() -> ColumnElement[bool]:
    return and_(StageRun.state == StageState.RUNNING, StageRun.lease_until < database_now())


def _overdue() -> ColumnElement[bool]:
    return and_(
        Job.state.in_((JobState.QUEUED, JobState.AWAITING_UPLOAD)),
        Job.deadline_at < database_now(),
    )


def _unheard(rehint_seconds: float) -> ColumnElement[bool]:
    return and_(StageRun.state == StageState.QUEUED, StageRun.hinted_at < database_now() - rehint_seconds)


def _anything(session: Session, rehint_seconds: float) -> bool:
    stages = select(StageRun.id).where(or_(_lease_over(), _unheard(rehint_seconds))).limit(1)
    jobs = select(Job.id).where(_overdue()).limit(1)
    return session.scalar(stages) is not None or session.scalar(jobs) is not None


def _give_up(session: Session, stages: list[StageRun], outcome: str) -> tuple[int, int, int]:
    requeued = dead = ended = 0
    for stage_run in stages:
        job = session.get_one(Job, stage_run.job_id)
        if job.cancel_requested_at is not None:
            ended += _end(session, stage_run, job, StageState.CANCELLED, None)
        elif stage_run.attempt >= stage_run.max_attempts:
            dead += _end(session, stage_run, job, StageState.FAILED, DEAD_LETTER)
        else:
            requeued += hand_back(session, stage_run.id, stage_run.attempt, outcome, extra_attempts=0)
    return requeued, dead, ended


def _end(session: Session, stage_run: StageRun, job: Job, state: StageState, error: JobError | None) -> int:
    guarded = update(StageRun).where(
        StageRun.id == stage_run.id, StageRun.attempt == stage_run.attempt, StageRun.state == StageState.RUNNING
    )
    code = error.code if error else None
    ended = guarded.values(state=state, lease_owner=None, lease_until=None, finished_at=database_now(), error_code=code)
    if changed(session, ended) == 0:
        return 0
    close_attempt(session, stage_run.id, "lost", code)
    end_job(session, job, JobState(state), stage_run, error)
    return 1


def _expire(session: Session) -> int:
    count = 0
    for job in session.scalars(select(Job).where(_overdue())).all():
        queued = update(StageRun).where(StageRun.job_id == job.id, StageRun.state == StageState.QUEUED)
        changed(session, queued.values(state=StageState.EXPIRED, finished_at=database_now()))
        end_job(session, job, JobState.EXPIRED, None)
        count += 1
    return count


def _hint_again(session: Session, rehint_seconds: float) -> int:
    unheard = session.scalars(select(StageRun).where(_unheard(rehint_seconds)).order_by(StageRun.queued_at)).all()
    count = 0
    for queue in QUEUES:
        waiting = [stage_run for stage_run in unheard if stage_run.queue == queue]
        # A message wakes a queue, not a stage: a few are enough, and a long queue does not flood the broker.
        for stage_run in waiting[:HINTS_PER_QUEUE]:
            hint(session, stage_run)
            count += 1
        for stage_run in waiting:
            changed(session, update(StageRun).where(StageRun.id == stage_run.id).values(hinted_at=database_now()))
    return count
