"""One event stream: what happened first, from the database, then what happens, from the hub."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from anyio import to_thread

from api.deps import Platform
from core.jobs.events import FINAL_EVENTS, JobEvent, read_after
from core.jobs.states import JOB_FINISHED
from core.jobs.tables import Job

KEEPALIVE_SECONDS = 15.0
_PAGE = 100


async def follow(platform: Platform, job_id: str, last_id: int) -> AsyncIterator[str]:
    """The job's events after `last_id` as an event stream, until the job ends, the reader leaves, or time is up.

    No database session is held while it waits.
    """
    until = time.monotonic() + platform.settings.event_stream_seconds
    with platform.events.subscribe(job_id) as arriving:
        await platform.events.ready()
        yield "retry: 2000\n\n"
        sent: set[int] = set()
        while True:
            events, finished = await to_thread.run_sync(_past, platform, job_id, last_id)
            for event in events:
                last_id = event.id
                sent.add(event.id)
                yield _encode(event)
            if len(events) < _PAGE:
                break
        if finished:
            return
        while (left := until - time.monotonic()) > 0:
            try:
                event = await asyncio.wait_for(arriving.get(), min(left, KEEPALIVE_SECONDS))
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event.id in sent or event.id <= last_id:
                continue
            sent.add(event.id)
            yield _encode(event)
            if event.type in FINAL_EVENTS:
                return


def _past(platform: Platform, job_id: str, last_id: int) -> tuple[list[JobEvent], bool]:
    with platform.database.read() as session:
        # The state first: events that end a job are written with its state, so none is missed.
        finished = session.get_one(Job, job_id).state in JOB_FINISHED
        return read_after(session, job_id, last_id, _PAGE), finished


def _encode(event: JobEvent) -> str:
    data = json.dumps({"id": event.id, "type": event.type, "at": event.at, **event.data})
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n"
