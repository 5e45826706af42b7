"""One poller of the events for all open streams of this process: five hundred readers cost the database one query.

It starts with the first reader and ends with the last. Readers hold no database session while they wait.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from anyio import to_thread
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from core.jobs.database import Database
from core.jobs.events import JobEvent
from core.jobs.tables import Event

LOOK_BACK_SECONDS = 10.0
"""On Postgres a row may appear after one with a higher id: so far back the poller looks for late ones."""
_PAGE = 2000
_log = structlog.get_logger(__name__)


class EventHub:
    """Hands new events to whoever subscribed to their job."""

    def __init__(self, database: Database, poll_seconds: float) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._readers: defaultdict[str, list[asyncio.Queue[JobEvent]]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.open = 0
        """Streams that are open."""

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[asyncio.Queue[JobEvent]]:
        """A queue of the job's events that are written from now on; some just before may come again."""
        queue: asyncio.Queue[JobEvent] = asyncio.Queue()
        self._readers[job_id].append(queue)
        self.open += 1
        if self._task is None or self._task.done():
            self._ready = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield queue
        finally:
            self.open -= 1
            self._readers[job_id].remove(queue)
            if not self._readers[job_id]:
                del self._readers[job_id]

    async def ready(self) -> None:
        """Wait until the poller knows from where on it reads: what is written after that, it hands out."""
        await self._ready.wait()

    async def _poll(self) -> None:
        mark: int | None = None
        marks: deque[tuple[float, int]] = deque()
        seen: set[int] = set()
        loop = asyncio.get_running_loop()
        while self.open:
            try:
                if mark is None:
                    mark = await to_thread.run_sync(self._newest)
                    self._ready.set()
                found = await to_thread.run_sync(self._read, mark)
            except SQLAlchemyError:
                _log.warning("events can't be read", exc_info=True)
                await asyncio.sleep(self._poll_seconds)
                continue
            for job_id, event in found:
                if event.id not in seen:
                    seen.add(event.id)
                    for queue in self._readers.get(job_id, ()):
                        queue.put_nowait(event)
            if len(found) == _PAGE:  # far behind: go on at once, without looking back
                mark = found[-1][1].id
                continue
            if found:
                marks.append((loop.time(), found[-1][1].id))
            while marks and marks[0][0] < loop.time() - LOOK_BACK_SECONDS:
                mark = max(mark, marks.popleft()[1])
                seen = {known for known in seen if known > mark}
            await asyncio.sleep(self._poll_seconds)

    def _newest(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.max(Event.id))) or 0

    def _read(self, mark: int) -> list[tuple[str, JobEvent]]:
        with self._database.read() as session:
            rows = session.execute(
                select(Event.id, Event.job_id, Event.type, Event.at, Event.data)
                .where(Event.id > mark)
                .order_by(Event.id)
                .limit(_PAGE)
            )
            return [(row.job_id, JobEvent(row.id, row.type, row.at, row.data)) for row in rows]
