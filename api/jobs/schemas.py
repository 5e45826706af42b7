"""Bodies of the jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.kinds import JobKind
from core.jobs.states import JobState, StageState
from core.jobs.view import JobView


class JobErrorOut(BaseModel):
    """Why a job ended badly: the same codes and hints as on the command line."""

    code: str
    message: str
    hint: str
    retryable: bool


class WarningOut(BaseModel):
    """Something about a clip that its user should know."""

    code: str
    message: str
    hint: str = Field(description="What to do about it.")


class ClipReportOut(BaseModel):
    """What preprocessing found in the clip: the JSON of `likeness inspect`, measurements and limits included."""

    model_config = ConfigDict(extra="allow")

    verdict: Literal["usable", "usable_with_warnings"]
    warnings: list[WarningOut]


class StageOut(BaseModel):
    """One stage of a job."""

    name: str
    state: StageState
    progress: float = Field(description="0..1 of this stage.")
    attempt: int
    started_at: float | None
    finished_at: float | None


class AttemptOut(BaseModel):
    """One try at a stage."""

    stage: str
    number: int
    worker: str
    resumed_from: float = Field(description="Progress, 0..1 of the stage, at which this attempt took over.")
    started_at: float
    ended_at: float | None
    outcome: str | None
    error_code: str | None


class JobOut(BaseModel):
    """A job. Times are seconds since 1970, UTC."""

    id: str
    kind: JobKind
    subject: str = Field(description="The identity or render that it makes.")
    state: JobState
    stage: str | None = Field(description="The stage that runs or waits; the last one of a finished job.")
    progress: float = Field(description="0..1 of the whole job.")
    eta_s: float | None = Field(description="Seconds left, from the time taken so far; null while it can't be told.")
    queue_position: int | None = Field(description="Stages ahead in the queue; null where none waits, and in lists.")
    cancel_requested: bool
    error: JobErrorOut | None
    stages: list[StageOut]
    attempts: list[AttemptOut] = Field(description="The history; empty in lists.")
    report: ClipReportOut | None = Field(
        description="Of an identity's clip, once it is preprocessed; null until then, for other kinds, and in lists."
    )
    created_at: float
    started_at: float | None
    finished_at: float | None


def describe(view: JobView) -> JobOut:
    """The job as the API shows it."""
    job, error = view.job, view.error
    return JobOut(
        id=job.id,
        kind=JobKind(job.kind),
        subject=job.subject_id,
        state=JobState(job.state),
        stage=view.stage,
        progress=round(view.progress, 4),
        eta_s=view.eta_s,
        queue_position=view.queue_position,
        cancel_requested=job.cancel_requested_at is not None,
        error=None
        if error is None
        else JobErrorOut(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable),
        stages=[
            StageOut(
                name=run.stage,
                state=StageState(run.state),
                progress=run.progress,
                attempt=run.attempt,
                started_at=run.started_at,
                finished_at=run.finished_at,
            )
            for run in view.stages
        ],
        attempts=[
            AttemptOut(
                stage=stage,
                number=attempt.number,
                worker=attempt.owner,
                resumed_from=attempt.resumed_from,
                started_at=attempt.started_at,
                ended_at=attempt.ended_at,
                outcome=attempt.outcome,
                error_code=attempt.error_code,
            )
            for stage, attempt in view.attempts
        ],
        report=None if view.report is None else ClipReportOut(**view.report),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
