"""Picks up what dead workers dropped: expired leases, passed deadlines, lost messages. Runs every second, anywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import QUEUES
from core.jobs.lease import hand_back
from core.jobs.outbox import forget_sent, hint
from core.jobs.states import JobState, StageState
from core.jobs.steps import JobError, changed, close_attempt, end_job, end_stages, lock_job
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
    """One pass over all stages that need help. Each is helped in a transaction of its own, so that several reapers, and
    workers, never wait for each other in a circle."""
    with database.read() as session:
        lost = session.scalars(select(StageRun.id).where(_lease_over()).order_by(StageRun.lease_until)).all()
        overdue = session.scalars(select(Job.id).where(_overdue())).all()
        unheard = session.scalar(select(StageRun.id).where(_unheard(rehint_seconds)).limit(1)) is not None
    counts: Counter[str] = Counter(_give_up(database, stage_run_id, _lease_over()) for stage_run_id in lost)
    expired = sum(_expire(database, job_id) for job_id in overdue)
    hinted = 0
    if unheard:
        with database.write() as session:
            hinted = _hint_again(session, rehint_seconds)
    return Reaped(counts["requeued"], counts["dead"], counts["ended"] + expired, hinted)


def reap_owner(database: Database, owner_prefix: str) -> Reaped:
    """Take the leases of workers that are known to be dead, without waiting for the leases to end."""
    theirs = and_(StageRun.state == StageState.RUNNING, StageRun.lease_owner.startswith(owner_prefix, autoescape=True))
    with database.read() as session:
        held = session.scalars(select(StageRun.id).where(theirs)).all()
    counts: Counter[str] = Counter(_give_up(database, stage_run_id, theirs) for stage_run_id in held)
    return Reaped(counts["requeued"], counts["dead"], counts["ended"], 0)


def sweep(database: Database) -> None:
    """Delete rows that are only kept for a while: sent messages, answers to idempotent POSTs."""
    with database.write() as session:
        forget_sent(session)
        session.execute(delete(Idempotency).where(Idempotency.created_at < database_now() - IDEMPOTENCY_SECONDS))


def _lease_over() -> ColumnElement[bool]:
    return and_(StageRun.state == StageState.RUNNING, StageRun.lease_until < database_now())


def _overdue() -> ColumnElement[bool]:
    return and_(
        Job.state.in_((JobState.QUEUED, JobState.AWAITING_UPLOAD, JobState.AWAITING_CONSENT)),
        Job.deadline_at < database_now(),
    )


def _unheard(rehint_seconds: float) -> ColumnElement[bool]:
    return and_(
        StageRun.state == StageState.QUEUED,
        StageRun.hinted_at < database_now() - rehint_seconds,
        StageRun.available_at <= database_now(),
    )


def _give_up(database: Database, stage_run_id: str, condition: ColumnElement[bool]) -> str:
    """Take a stage from its worker if `condition` still holds. Returns `requeued`, `dead`, `ended` or `kept`."""
    with database.write() as session:
        job = lock_job(session, session.get_one(StageRun, stage_run_id).job_id)
        mine = select(StageRun).where(StageRun.id == stage_run_id, condition).with_for_update()
        stage_run = session.scalars(mine.execution_options(populate_existing=True)).one_or_none()
        if job is None or stage_run is None:
            return "kept"
        if job.cancel_requested_at is not None:
            return _end(session, stage_run, job, StageState.CANCELLED, None)
        if stage_run.attempt >= stage_run.max_attempts:
            return _end(session, stage_run, job, StageState.FAILED, DEAD_LETTER)
        return "requeued" if hand_back(session, stage_run.id, stage_run.attempt, "lost") else "kept"


def _end(session: Session, stage_run: StageRun, job: Job, state: StageState, error: JobError | None) -> str:
    code = error.code if error else None
    values = {"state": state, "lease_owner": None, "lease_until": None, "finished_at": database_now()}
    changed(session, update(StageRun).where(StageRun.id == stage_run.id).values(error_code=code, **values))
    close_attempt(session, stage_run.id, "lost", code)
    end_job(session, job, JobState(state), stage_run, error)
    return "dead" if error else "ended"


def _expire(database: Database, job_id: str) -> int:
    with database.write() as session:
        job = lock_job(session, job_id)
        if job is None or session.scalar(select(Job.id).where(Job.id == job_id, _overdue())) is None:
            return 0
        end_stages(session, job_id, StageState.EXPIRED)
        end_job(session, job, JobState.EXPIRED, None)
        return 1


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
