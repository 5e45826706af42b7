"""What a tenant has used. Nothing is metered twice: attempts, uploads and renders are the meter."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.tables import Attempt, Identity, Job, Render, StageRun, Umf, Upload


@dataclass(frozen=True)
class StageUse:
    """Compute of one stage."""

    stage: str
    attempts: int
    seconds: float
    """Of a worker, lost and cancelled attempts included."""


@dataclass(frozen=True)
class Use:
    """What a tenant used between two times."""

    stages: list[StageUse]
    jobs: int
    renders: int
    video_seconds: float


def used_between(session: Session, tenant_id: str, since: float, until: float) -> Use:
    """What ended between the two times (seconds since 1970; `until` not included)."""
    seconds = func.sum(Attempt.ended_at - Attempt.started_at)
    stages = session.execute(
        select(StageRun.stage, func.count(), seconds)
        .join(StageRun, StageRun.id == Attempt.stage_run_id)
        .where(StageRun.tenant_id == tenant_id, Attempt.ended_at >= since, Attempt.ended_at < until)
        .group_by(StageRun.stage)
        .order_by(StageRun.stage)
    )
    jobs = select(func.count()).select_from(Job)
    ended = (Job.tenant_id == tenant_id, Job.finished_at >= since, Job.finished_at < until)
    videos = (
        select(func.count(), func.coalesce(func.sum(Render.result["seconds"].as_float()), 0.0))
        .join(Job, Job.id == Render.job_id)
        .where(Render.tenant_id == tenant_id, Render.result.is_not(None), *ended)
    )
    renders, seconds_made = session.execute(videos).one()
    return Use(
        stages=[StageUse(stage, count, round(total or 0.0, 3)) for stage, count, total in stages],
        jobs=session.scalar(jobs.where(*ended)) or 0,
        renders=renders,
        video_seconds=round(seconds_made or 0.0, 3),
    )


def video_seconds(session: Session, tenant_id: str, window_s: float) -> float:
    """Seconds of video made in the last `window_s` seconds."""
    made = (
        select(func.coalesce(func.sum(Render.result["seconds"].as_float()), 0.0))
        .join(Job, Job.id == Render.job_id)
        .where(
            Render.tenant_id == tenant_id,
            Render.result.is_not(None),
            Job.finished_at >= database_now() - window_s,
        )
    )
    return float(session.scalar(made) or 0.0)


def stored_bytes(session: Session, tenant_id: str) -> int:
    """Bytes of the tenant's uploads (announced ones, too), bundles, videos and motion fields that are not deleted."""
    kept = Identity.deleted_at.is_(None)
    sums = (
        select(func.sum(Upload.size)).where(
            Upload.tenant_id == tenant_id, Upload.removed_at.is_(None), Upload.state != "expired"
        ),
        select(func.sum(Identity.bundle_size)).where(Identity.tenant_id == tenant_id, kept),
        select(func.sum(Render.output_size))
        .join(Identity, Identity.id == Render.identity_id)
        .where(Render.tenant_id == tenant_id, kept),
        select(func.sum(Umf.object_size)).where(Umf.tenant_id == tenant_id),
    )
    return sum(int(session.scalar(one) or 0) for one in sums)
