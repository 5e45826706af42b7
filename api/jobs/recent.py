"""Answers about jobs that were given lately, so that many polls of few jobs cost one small query each.

Whatever happens to a job is an event with a growing id. So an answer holds while the job's newest event is the one that
it was made under; what others do to the job's place in the queue and its time left is at most some seconds old.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import bindparam, func, select

from core.jobs.database import Database
from core.jobs.tables import Event

KEPT_SECONDS = 5.0
GATHERED_SECONDS = 0.01
"""A query waits so long for others to join it: a busy process asks a hundred times a second at most."""
_KEPT_JOBS = 5_000
_NEWEST = (
    select(Event.job_id, func.max(Event.id).label("newest"))
    .where(Event.job_id.in_(bindparam("jobs", expanding=True)))
    .group_by(Event.job_id)
)


@dataclass(frozen=True)
class _Given:
    event: int
    until: float
    body: bytes


class RecentAnswers:
    """The answers of this process."""

    def __init__(self, database: Database, seconds: float = KEPT_SECONDS) -> None:
        self._engine = database.engine
        if self._engine.dialect.name == "postgresql":
            # One statement needs no transaction around it, which would cost two more round trips.
            self._engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, list[asyncio.Future[int]]] = defaultdict(list)
        self._asking: asyncio.Task[None] | None = None
        self._given: OrderedDict[tuple[str, str], _Given] = OrderedDict()

    async def newest_event(self, job_id: str) -> int:
        """Id of the job's newest event; 0 where there is no such job.

        Calls that come together, or while a query is under way, share one: the busier the process, the less each costs.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[int] = loop.create_future()
        self._waiting[job_id].append(told)
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask())
        return await told

    async def _ask(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHERED_SECONDS)
            asked, self._waiting = self._waiting, defaultdict(list)
            try:
                found = await to_thread.run_sync(self._newest, list(asked))
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
                for told in (one for waiting in asked.values() for one in waiting if not one.done()):
                    told.set_exception(error)
                continue
            for job_id, waiting in asked.items():
                for told in waiting:
                    if not told.done():  # its caller may have gone
                        told.set_result(found.get(job_id, 0))

    def _newest(self, job_ids: list[str]) -> dict[str, int]:
        with self._engine.connect() as connection:
            return {row.job_id: row.newest for row in connection.execute(_NEWEST, {"jobs": job_ids})}

    def find(self, tenant: str, job_id: str, event: int) -> bytes | None:
        """The JSON that this tenant was given about its job, if it still holds."""
        given = self._given.get((tenant, job_id))
        if given is None or given.event != event or time.monotonic() > given.until:
            return None
        return given.body

    def keep(self, tenant: str, job_id: str, event: int, body: bytes) -> None:
        """Remember what the tenant is told. `event` was the newest one before the job was read."""
        with self._lock:
            # Answers that were given together must not end together: they would all be made again at once.
            until = time.monotonic() + self._seconds * random.uniform(0.5, 1.0)  # noqa: S311 - guards nothing
            self._given[tenant, job_id] = _Given(event, until, body)
            self._given.move_to_end((tenant, job_id))
            if len(self._given) > _KEPT_JOBS:
                self._given.popitem(last=False)
