"""The states of a job and of its stages, and which may follow which. The database checks the names."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is."""

    AWAITING_UPLOAD = "awaiting_upload"
    """Its media is not here yet."""
    AWAITING_CONSENT = "awaiting_consent"
    """The consent of the person in its media is not verified yet."""
    QUEUED = "queued"
    """Its next stage waits for a worker; an earlier one may have run."""
    RUNNING = "running"
    """A worker holds the lease of one of its stages."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A stage failed, or its attempts are used up (a dead letter); can be retried."""
    REJECTED = "rejected"
    """The input can't be used; the same input would be rejected again."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed before it was done."""


class StageState(StrEnum):
    """Where one stage of a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.AWAITING_UPLOAD: frozenset(
        {JobState.QUEUED, JobState.AWAITING_CONSENT, JobState.CANCELLED, JobState.EXPIRED}
    ),
    JobState.AWAITING_CONSENT: frozenset({JobState.QUEUED, JobState.REJECTED, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.REJECTED,
            JobState.CANCELLED,
            JobState.EXPIRED,
        }
    ),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
    JobState.EXPIRED: frozenset({JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.REJECTED: frozenset(),
}

JOB_FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.REJECTED, JobState.CANCELLED, JobState.EXPIRED})
"""Nothing more happens to such a job unless it is retried."""
JOB_LIVE = frozenset(JobState) - JOB_FINISHED
JOB_RETRYABLE = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})


def sources(target: JobState) -> tuple[str, ...]:
    """The states from which a job may go to `target`: the guard of every UPDATE that writes it."""
    return tuple(sorted(state for state, targets in JOB_TRANSITIONS.items() if target in targets))
