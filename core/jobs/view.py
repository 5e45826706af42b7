"""A job as people and programs look at it: state, stage, progress, time left, place in the queue, attempts, error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.jobs.claims import running_by_tenant
from core.jobs.clock import database_now
from core.jobs.kinds import STAGES, JobKind, overall_progress
from core.jobs.states import JobState, StageState
from core.jobs.steps import JobError
from core.jobs.tables import Attempt, Job, StageRun

MIN_PROGRESS_FOR_ETA = 0.03
RECENT_ATTEMPTS = 100


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
    report: dict[str, Any] | None = None
    """What a stage said of the clip that the job works on; None until it has, and in lists."""

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
        .order_by(StageRun.position, StageRun.segment, Attempt.number)
    )
    (view,) = view_jobs(session, [job])
    ahead = _queue_position(session, view.stages)
    return JobView(
        job=job,
        stages=view.stages,
        attempts=[(stage, attempt) for stage, attempt in attempts],
        progress=view.progress,
        eta_s=_time_left(session, view, ahead),
        queue_position=ahead,
        report=_report(view.stages),
    )


def view_jobs(session: Session, jobs: Sequence[Job]) -> list[JobView]:
    """The jobs of a list, with one query for all their stages."""
    stages: defaultdict[str, list[StageRun]] = defaultdict(list)
    rows = select(StageRun).where(StageRun.job_id.in_([job.id for job in jobs]))
    for stage_run in session.scalars(rows.order_by(StageRun.position, StageRun.segment)):
        stages[stage_run.job_id].append(stage_run)
    now = float(session.scalar(select(database_now())) or 0.0)
    return [_view(job, stages[job.id], now) for job in jobs]


def typical_seconds(session: Session) -> dict[str, float]:
    """Stage (or one segment of it) -> seconds that it took of late, on average; stages that have not run are absent."""
    recent = (
        select(StageRun.stage, (Attempt.ended_at - Attempt.started_at).label("seconds"))
        .join(StageRun, StageRun.id == Attempt.stage_run_id)
        .where(Attempt.outcome == "succeeded", Attempt.ended_at.is_not(None))
        .order_by(Attempt.ended_at.desc())
        .limit(RECENT_ATTEMPTS)
        .subquery()
    )
    averages = select(recent.c.stage, func.avg(recent.c.seconds)).group_by(recent.c.stage)
    return {stage: float(seconds) for stage, seconds in session.execute(averages)}


def _view(job: Job, stages: Sequence[StageRun], now: float) -> JobView:
    current = _current(stages)
    position = current[0].position if current else 0
    fraction = sum(run.progress for run in current) / len(current) if current else 0.0
    progress = 1.0 if job.state == JobState.SUCCEEDED else overall_progress(JobKind(job.kind), position, fraction)
    return JobView(job, stages, [], progress, _from_own_pace(job, stages, progress, now), None)


def _report(stages: Sequence[StageRun]) -> dict[str, Any] | None:
    """The stages' outputs go with the identity (`core.consents.erase`), and so does the report."""
    said = [((run.output or {}).get("measured") or {}).get("report") for run in stages]
    return next((one for one in said if one), None)


def _current(stages: Sequence[StageRun]) -> list[StageRun]:
    """The stage that a job is at: all its segments."""
    return [run for run in stages if run.position == stages[-1].position] if stages else []


def _from_own_pace(job: Job, stages: Sequence[StageRun], progress: float, now: float) -> float | None:
    """From the time that the stages took so far; a job that waits for a worker has no estimate."""
    if job.state != JobState.RUNNING or progress < MIN_PROGRESS_FOR_ETA:
        return None
    spent = sum((run.finished_at or now) - run.started_at for run in stages if run.started_at is not None)
    return round(spent * (1.0 - progress) / progress, 1)


def _time_left(session: Session, view: JobView, ahead: int | None) -> float | None:
    """From what the remaining stages took of late; from the job's own pace where nothing is known of them."""
    if view.job.state not in (JobState.QUEUED, JobState.RUNNING):
        return None
    typical = typical_seconds(session)
    current = _current(view.stages)
    later = [kind.name for kind in STAGES[JobKind(view.job.kind)][current[0].position + 1 :]] if current else []
    if not current or any(name not in typical for name in (current[0].stage, *later)):
        return view.eta_s
    share = sum(1.0 - run.progress for run in current) * typical[current[0].stage]
    workers = max(1, sum(run.state == StageState.RUNNING for run in current))
    left = share / workers + sum(typical[name] for name in later)
    if ahead is not None:
        busy = select(func.count()).where(StageRun.queue == current[0].queue, StageRun.state == StageState.RUNNING)
        left += ahead * typical[current[0].stage] / max(1, session.scalar(busy) or 0)
    return round(left, 1)


def _queue_position(session: Session, stages: Sequence[StageRun]) -> int | None:
    """How many stages would be claimed before, if nothing else came: the order is that of `core.jobs.claims`."""
    waiting = [run for run in _current(stages) if run.state == StageState.QUEUED]
    if not waiting:
        return None
    mine = waiting[0]
    busy = running_by_tenant()
    running = func.coalesce(busy.c.running, 0)
    own = session.scalar(select(busy.c.running).where(busy.c.tenant_id == mine.tenant_id)) or 0
    earlier = or_(
        running < own,
        (running == own)
        & or_(
            StageRun.priority > mine.priority,
            (StageRun.priority == mine.priority) & (StageRun.queued_at < mine.queued_at),
        ),
    )
    ahead = (
        select(func.count())
        .select_from(StageRun)
        .outerjoin(busy, busy.c.tenant_id == StageRun.tenant_id)
        .where(
            StageRun.queue == mine.queue, StageRun.state == StageState.QUEUED, StageRun.job_id != mine.job_id, earlier
        )
    )
    return session.scalar(ahead)
