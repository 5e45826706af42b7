"""What happened to a job, as durable rows with growing ids: streams read them, and go on where they stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.tables import Event, Job
from core.webhooks.record import fan_out

FINAL_EVENTS = frozenset({"job.succeeded", "job.failed", "job.rejected", "job.cancelled", "job.expired"})
"""After one of these nothing follows, unless the job is retried."""


@dataclass(frozen=True)
class JobEvent:
    """One event as a reader gets it."""

    id: int
    type: str
    at: float
    data: dict[str, Any]


def append(session: Session, job: Job, event_type: str, **data: Any) -> None:
    """Record an event of `job`, and the webhook messages about it, in the caller's transaction."""
    session.add(Event(tenant_id=job.tenant_id, job_id=job.id, type=event_type, data=data))
    session.flush()
    fan_out(session, job.tenant_id, event_type, {"job": job.id, "kind": job.kind, "subject": job.subject_id, **data})


def read_after(session: Session, job_id: str, last_id: int, limit: int = 100) -> list[JobEvent]:
    """The events of a job with an id above `last_id`, oldest first."""
    rows = session.scalars(
        select(Event).where(Event.job_id == job_id, Event.id > last_id).order_by(Event.id).limit(limit)
    )
    return [JobEvent(row.id, row.type, row.at, row.data) for row in rows]
