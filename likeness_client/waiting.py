"""Follows a job: by its event stream where the server gives one, else by asking again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx

from likeness_client.connection import Connection, check
from likeness_client.errors import ApiProblemError, InputRejectedError, JobFailedError, WaitTimeoutError
from likeness_client.models import FINISHED_STATES, Event, Job

_SILENCE_SECONDS = 45.0
"""The server sends a sign of life every 15 s; after so long without one the stream is dead."""
_RECONNECT_SECONDS = 0.3


def read_job(connection: Connection, job_id: str) -> Job:
    """One job."""
    return Job.parse(connection.get(f"/v1/jobs/{job_id}"))


def wait(
    connection: Connection,
    job_id: str,
    on_progress: Callable[[Job], object] | None,
    poll_s: float,
    timeout_s: float | None,
) -> Job:
    """See `Client.wait`."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    last_id, streams = 0, True
    while True:
        job = read_job(connection, job_id)
        if on_progress is not None:
            on_progress(job)
        if job.finished:
            return _succeeded(job)
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            raise WaitTimeoutError(f"job {job_id} is still {job.state} after {timeout_s} s")
        if streams:
            try:
                last_id = _until_news(connection, job_id, last_id, poll_s, left)
                continue
            except ApiProblemError:  # too many streams, or a server without them
                streams = False
            except httpx.TransportError:
                pass
        time.sleep(poll_s if left is None else min(poll_s, left))


def events(connection: Connection, job_id: str, last_event_id: int) -> Iterator[Event]:
    """See `Client.events`."""
    finished = False
    while not finished:
        # A stream may end by itself (the server limits its life): only one begun after the job's end has it all.
        finished = read_job(connection, job_id).finished
        try:
            for event in _stream(connection, job_id, last_event_id, _SILENCE_SECONDS):
                if event is not None:
                    last_event_id = event.id
                    yield event
        except httpx.TransportError:
            finished = False
            time.sleep(_RECONNECT_SECONDS)


def _until_news(connection: Connection, job_id: str, last_id: int, poll_s: float, left: float | None) -> int:
    """Listen until the job ended, or something happened and `poll_s` passed. Returns the id of the last event."""
    began = time.monotonic()
    silence = _SILENCE_SECONDS if left is None else min(_SILENCE_SECONDS, max(left, 0.01))
    try:
        for event in _stream(connection, job_id, last_id, silence):
            passed = time.monotonic() - began
            if event is not None:
                last_id = event.id
                if event.type.removeprefix("job.") in FINISHED_STATES or passed >= poll_s:
                    return last_id
            if left is not None and passed >= left:
                return last_id
    except httpx.ReadTimeout:
        if left is None:
            raise
    return last_id


def _stream(connection: Connection, job_id: str, last_id: int, silence_s: float) -> Iterator[Event | None]:
    """The events of one stream, and None for each sign of life."""
    headers = {"Last-Event-ID": str(last_id)}
    timeout = httpx.Timeout(30.0, read=silence_s)
    with connection.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=timeout) as answer:
        if answer.status_code != 200:
            answer.read()
            check(answer)
        for line in answer.iter_lines():
            if line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                yield Event(data["id"], data["type"], data)
            elif line.startswith(":"):
                yield None


def _succeeded(job: Job) -> Job:
    if job.state == "succeeded":
        return job
    kind = InputRejectedError if job.state == "rejected" else JobFailedError
    if job.error is None:
        raise kind(job.id, job.state, job.state, f"The job is {job.state}.", "Retry it, or submit a new one.")
    raise kind(job.id, job.state, job.error.code, job.error.message, job.error.hint)
