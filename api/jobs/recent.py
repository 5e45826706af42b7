"""Answers about jobs that were given lately, so that many polls of few jobs cost one small query each.

Whatever happens to a job is an event with a growing id. So an answer holds while the job's newest event is the one that
it was made under; what others do to the job's place in the queue and its time left is at most some seconds old.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select

from core.jobs.database import Database
from core.jobs.tables import Event

KEPT_SECONDS = 5.0
_KEPT_JOBS = 5_000
_NEWEST = select(func.max(Event.id)).where(Event.job_id == bindparam("job"))


@dataclass(frozen=True)
class _Given:
    event: int
    at: float
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
        self._given: OrderedDict[tuple[str, str], _Given] = OrderedDict()

    def newest_event(self, job_id: str) -> int:
        """Id of the job's newest event; 0 where there is no such job."""
        with self._engine.connect() as connection:
            return connection.scalar(_NEWEST, {"job": job_id}) or 0

    def find(self, tenant: str, job_id: str, event: int) -> bytes | None:
        """The JSON that this tenant was given about its job, if it still holds."""
        given = self._given.get((tenant, job_id))
        if given is None or given.event != event or time.monotonic() - given.at > self._seconds:
            return None
        return given.body

    def keep(self, tenant: str, job_id: str, event: int, body: bytes) -> None:
        """Remember what the tenant is told. `event` was the newest one before the job was read."""
        with self._lock:
            self._given[tenant, job_id] = _Given(event, time.monotonic(), body)
            self._given.move_to_end((tenant, job_id))
            if len(self._given) > _KEPT_JOBS:
                self._given.popitem(last=False)
