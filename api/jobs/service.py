"""Jobs of a tenant: look, cancel, retry, follow."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Platform
from api.jobs.schemas import JobOut, describe
from api.problems import NotFoundError
from core.jobs import lifecycle
from core.jobs.events import FINAL_EVENTS, JobEvent, read_after
from core.jobs.states import JOB_FINISHED
from core.jobs.tables import Identity, Job, Render
from core.jobs.view import view_job

KEEPALIVE_SECONDS = 15.0


def find(session: Session, tenant: str, job_id: str) -> Job:
    """The tenant's job.

    Raises:
        NotFoundError: no such job, or not this tenant's.
    """
    job = session.scalar(select(Job).where(Job.id == job_id, Job.tenant_id == tenant))
    if job is None:
        raise NotFoundError("job")
    return job


def read(session: Session, tenant: str, job_id: str) -> JobOut:
    """The job as the API shows it."""
    return describe(view_job(session, find(session, tenant, job_id)))


def cancel(session: Session, tenant: str, job_id: str) -> JobOut:
    """Ask the job to stop. See `core.jobs.lifecycle.cancel`."""
    find(session, tenant, job_id)
    lifecycle.cancel(session, job_id)
    session.expire_all()
    return read(session, tenant, job_id)


def retry(session: Session, platform: Platform, tenant: str, job_id: str) -> JobOut:
    """Go on from the stage at which the job stopped. See `core.jobs.lifecycle.retry`.

    Raises:
        NotFoundError: what the job was to make has been deleted.
    """
    job = find(session, tenant, job_id)
    render = session.get(Render, job.subject_id)
    identity = session.get(Identity, render.identity_id if render is not None else job.subject_id)
    if identity is None or identity.deleted_at is not None:
        raise NotFoundError("identity")
    lifecycle.retry(session, job_id, platform.settings.max_attempts)
    session.expire_all()
    return read(session, tenant, job_id)


async def follow(
    platform: Platform, job_id: str, last_id: int, gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """The job's events after `last_id` as an event stream, until the job ends, the reader leaves, or time is up.

    No database session is held between two polls.
    """
    settings = platform.settings
    until = time.monotonic() + settings.event_stream_seconds
    quiet_since = time.monotonic()
    platform.streams.count += 1
    try:
        yield "retry: 2000\n\n"
        while time.monotonic() < until and not await gone():
            events, finished = await to_thread.run_sync(_poll, platform, job_id, last_id)
            for event in events:
                last_id, quiet_since = event.id, time.monotonic()
                yield _encode(event)
            if finished and (not events or events[-1].type in FINAL_EVENTS):
                return
            if time.monotonic() - quiet_since > KEEPALIVE_SECONDS:
                quiet_since = time.monotonic()
                yield ": still here\n\n"
            await anyio.sleep(settings.event_poll_seconds)
    finally:
        platform.streams.count -= 1


def _poll(platform: Platform, job_id: str, last_id: int) -> tuple[list[JobEvent], bool]:
    with platform.database.read() as session:
        # The state first: events that end a job are written with its state, so none is missed.
        finished = session.get_one(Job, job_id).state in JOB_FINISHED
        return read_after(session, job_id, last_id), finished


def _encode(event: JobEvent) -> str:
    data = json.dumps({"id": event.id, "type": event.type, "at": event.at, **event.data})
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n"
