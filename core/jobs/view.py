"""A job as people and programs look at it: state, stage, progress, time left, place in the queue, attempts, error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.kinds import JobKind, overall_progress
from core.jobs.states import JobState, StageState
from core.jobs.steps import JobError
from core.jobs.tables import Attempt, Job, StageRun

MIN_PROGRESS_FOR_ETA = 0.03


@dataclass(frozen=True)
class JobView:
    """One job, read at one moment."""

    job: Job
    stages: Sequence[StageRun]
    attempts: Sequence[tuple[str, Attempt]]
    """(stage name, attempt), oldest first; empty in lists."""
    progress: float
    """0..1, of the whole job."""
    eta_s: float | None
    """Seconds until the job is done, or None where that can't be told yet."""
    queue_position: int | None
    """0 for the stage that is next in its queue; None where no stage waits, and in lists."""

    @property
    def stage(self) -> str | None:
        """The stage that runs or waits, or the last one of a finished job."""
        return self.stages[-1].stage if self.stages else None

    @property
    def error(self) -> JobError | None:
        """Why the job ended badly."""
        job = self.job
        if job.error_code is None:
            return None
        return JobError(job.error_code, job.error_message or "", job.error_hint or "", bool(job.error_retryable))


def view_job(session: Session, job: Job) -> JobView:
    """The job with its attempts and its place in the queue."""
    attempts = session.execute(
        select(StageRun.stage, Attempt)
        .join(StageRun, StageRun.id == Attempt.stage_run_id)
        .where(StageRun.job_id == job.id)
        .order_by(StageRun.position, Attempt.number)
    )
    (view,) = view_jobs(session, [job])
    return JobView(
        job=job,
        stages=view.stages,
        attempts=[(stage, attempt) for stage, attempt in attempts],
        progress=view.progress,
        eta_s=view.eta_s,
        queue_position=_queue_position(session, view.stages),
    )


def view_jobs(session: Session, jobs: Sequence[Job]) -> list[JobView]:
    """The jobs of a list, with one query for all their stages."""
    stages: defaultdict[str, list[StageRun]] = defaultdict(list)
    rows = select(StageRun).where(StageRun.job_id.in_([job.id for job in jobs])).order_by(StageRun.position)
    for stage_run in session.scalars(rows):
        stages[stage_run.job_id].append(stage_run)
    now = float(session.scalar(select(database_now())) or 0.0)
    return [_view(job, stages[job.id], now) for job in jobs]


def _view(job: Job, stages: Sequence[StageRun], now: float) -> JobView:
    done = sum(stage_run.state == StageState.SUCCEEDED for stage_run in stages)
    fraction = stages[-1].progress if stages and stages[-1].state != StageState.SUCCEEDED else 0.0
    progress = 1.0 if job.state == JobState.SUCCEEDED else overall_progress(JobKind(job.kind), done, fraction)
    return JobView(job, stages, [], progress, _time_left(job, stages, progress, now), None)


def _time_left(job: Job, stages: Sequence[StageRun], progress: float, now: float) -> float | None:
    """From the time that the stages took so far; a job that waits for a worker has no estimate."""
    if job.state != JobState.RUNNING or progress < MIN_PROGRESS_FOR_ETA:
        return None
    spent = sum((run.finished_at or now) - run.started_at for run in stages if run.started_at is not None)
    return round(spent * (1.0 - progress) / progress, 1)


def _queue_position(session: Session, stages: Sequence[StageRun]) -> int | None:
    if not stages or stages[-1].state != StageState.QUEUED:
        return None
    mine = stages[-1]
    ahead = select(func.count()).where(
        StageRun.queue == mine.queue,
        StageRun.state == StageState.QUEUED,
        or_(
            StageRun.priority > mine.priority,
            (StageRun.priority == mine.priority) & (StageRun.queued_at < mine.queued_at),
        ),
    )
    return session.scalar(ahead)
