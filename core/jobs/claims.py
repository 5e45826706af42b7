"""Whose turn it is: the order in which queued stages are claimed, and the claim itself.

Order: the tenant with fewer running stages, then the higher priority, then the older stage. A tenant can't overtake
another one by giving its own jobs a high priority, nor by sending many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, func, or_, select, update
from sqlalchemy.orm import Session

from core.jobs import events
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import JobKind, overall_progress
from core.jobs.lease import Claim
from core.jobs.states import JobState, StageState
from core.jobs.steps import changed, lock_job, move_job
from core.jobs.tables import Attempt, Job, StageRun

CANDIDATES = 8


def claim_next(database: Database, queues: Sequence[str], owner: str, lease_seconds: float) -> Claim | None:
    """Take the queued stage of these queues whose turn it is, or None where there is nothing to do."""
    with database.read() as session:
        if session.scalar(select(StageRun.id).where(*_claimable(queues)).limit(1)) is None:
            return None
    with database.write() as session:
        for stage_run_id, job_id in session.execute(_candidates(queues)).all():
            claim = _take(session, stage_run_id, job_id, owner, lease_seconds)
            if claim is not None:
                return claim
    return None


def waiting_since(session: Session, queues: Sequence[str]) -> float | None:
    """For how many seconds the stage has waited that waits longest in these queues; None where none does."""
    eldest = select(func.min(StageRun.available_at)).where(*_claimable(queues))
    since, now = session.execute(select(eldest.scalar_subquery(), database_now())).one()
    return None if since is None else float(now) - float(since)


def running_by_tenant() -> Subquery:
    """(tenant_id, running): how many stages of each tenant run now; tenants without any are absent."""
    return (
        select(StageRun.tenant_id, func.count().label("running"))
        .where(StageRun.state == StageState.RUNNING)
        .group_by(StageRun.tenant_id)
        .subquery()
    )


def _claimable(queues: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    return (
        StageRun.state == StageState.QUEUED,
        StageRun.queue.in_(queues),
        StageRun.attempt < StageRun.max_attempts,
        StageRun.available_at <= database_now(),
    )


def _candidates(queues: Sequence[str]) -> Select[str, str]:
    busy = running_by_tenant()
    return (
        select(StageRun.id, StageRun.job_id)
        .join(Job, Job.id == StageRun.job_id)
        .outerjoin(busy, busy.c.tenant_id == StageRun.tenant_id)
        .where(
            *_claimable(queues),
            Job.cancel_requested_at.is_(None),
            or_(Job.deadline_at.is_(None), Job.deadline_at > database_now()),
        )
        .order_by(
            func.coalesce(busy.c.running, 0),
            StageRun.priority.desc(),
            StageRun.queued_at,
            StageRun.segment,
            StageRun.id,
        )
        .limit(CANDIDATES)
    )


def _take(session: Session, stage_run_id: str, job_id: str, owner: str, lease_seconds: float) -> Claim | None:
    job = lock_job(session, job_id, skip_locked=True)
    if job is None or job.state not in (JobState.QUEUED, JobState.RUNNING):
        return None
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
    if job.state == JobState.QUEUED:
        move_job(session, job.id, JobState.RUNNING, started_at=func.coalesce(Job.started_at, database_now()))
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
    kind = JobKind(job.kind)
    told = {"segment": stage_run.segment} if stage_run.segments > 1 else {}
    events.append(
        session,
        job,
        "stage.started",
        state=JobState.RUNNING,
        stage=stage_run.stage,
        attempt=stage_run.attempt,
        progress=round(overall_progress(kind, stage_run.position, stage_run.progress / stage_run.segments), 4),
        **told,
    )
    return Claim(
        stage_run_id=stage_run.id,
        job_id=job.id,
        tenant_id=job.tenant_id,
        kind=kind,
        subject_id=job.subject_id,
        stage=stage_run.stage,
        position=stage_run.position,
        segment=stage_run.segment,
        segments=stage_run.segments,
        attempt=stage_run.attempt,
        max_attempts=stage_run.max_attempts,
        resumed_from=stage_run.progress,
        checkpoint=stage_run.checkpoint,
        inputs=job.inputs,
        origin=job.origin,
        outputs=_outputs(session, job.id),
    )


def _outputs(session: Session, job_id: str) -> dict[tuple[str, int], dict[str, Any]]:
    done = select(StageRun).where(StageRun.job_id == job_id, StageRun.state == StageState.SUCCEEDED)
    return {(run.stage, run.segment): run.output for run in session.scalars(done) if run.output is not None}
