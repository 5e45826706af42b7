"""What the platform's metrics are made of: counts, ages and times, each from one query. It writes nothing.

All processes read the same database, so each of them may answer, and an answer survives their restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.kinds import QUEUES
from core.jobs.states import JobState, StageState
from core.jobs.tables import Attempt, Job, Outbox, StageRun
from core.webhooks.tables import WebhookDelivery

BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 7200.0)
"""Upper bounds of the times of a stage's attempts, seconds."""
LEFT_SECONDS = 60.0
"""What the relay and the reaper do every second, they have not done for so long: they are not running."""
DEAD_LETTER_CODES = ("attempts_exhausted",)


@dataclass(frozen=True)
class Times:
    """How long the attempts at one stage took that ended in one way."""

    stage: str
    outcome: str
    within: tuple[int, ...]
    """How many took at most each of `BUCKETS_S`."""
    count: int
    total_s: float


def jobs_by_state(session: Session) -> list[tuple[str, str, int]]:
    """(kind, state, how many)."""
    rows = session.execute(select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state))
    return [(kind, state, count) for kind, state, count in rows]


def stages_by_state(session: Session) -> list[tuple[str, str, int]]:
    """(queue, state, how many). A queue without waiting or running stages has rows of 0, so that an alert sees it."""
    counts = {(queue, str(state)): 0 for queue in QUEUES for state in (StageState.QUEUED, StageState.RUNNING)}
    rows = session.execute(
        select(StageRun.queue, StageRun.state, func.count()).group_by(StageRun.queue, StageRun.state)
    )
    counts.update({(queue, state): count for queue, state, count in rows})
    return [(queue, state, count) for (queue, state), count in counts.items()]


def oldest_queued_s(session: Session) -> dict[str, float]:
    """For each queue: seconds that its oldest stage has waited for a worker; 0 for an empty one."""
    ages = dict.fromkeys(QUEUES, 0.0)
    waiting = select(StageRun.queue, database_now() - func.min(StageRun.queued_at))
    rows = session.execute(waiting.where(StageRun.state == StageState.QUEUED).group_by(StageRun.queue))
    ages.update({queue: max(0.0, age) for queue, age in rows})
    return ages


def dead_letters(session: Session) -> int:
    """Jobs that failed because their workers died, and that nobody has retried."""
    dead = select(func.count()).where(Job.state == JobState.FAILED, Job.error_code.in_(DEAD_LETTER_CODES))
    return session.scalar(dead) or 0


def outbox_lag(session: Session) -> tuple[int, float]:
    """(Messages that are not sent yet, seconds since the oldest of them was due)."""
    unsent = select(func.count(), database_now() - func.min(Outbox.available_at)).where(Outbox.sent_at.is_(None))
    count, age = session.execute(unsent).one()
    return count, max(0.0, age or 0.0)


def left_undone(session: Session, seconds: float = LEFT_SECONDS) -> int:
    """What the relay never tried to send, and the reaper did not take back, for so long.

    A message that was tried counts as done: while the broker is away, a restart of the relay would not help.
    """
    unsent = select(func.count()).where(
        Outbox.sent_at.is_(None), Outbox.tries == 0, Outbox.available_at < database_now() - seconds
    )
    over = select(func.count()).where(
        StageRun.state == StageState.RUNNING, StageRun.lease_until < database_now() - seconds
    )
    return (session.scalar(unsent) or 0) + (session.scalar(over) or 0)


def deliveries_by_state(session: Session) -> dict[str, int]:
    """Webhook deliveries by state."""
    counts = dict.fromkeys(("pending", "delivered", "failed"), 0)
    for state, count in session.execute(select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state)):
        counts[state] = count
    return counts


def attempt_times(session: Session, owner_prefix: str = "") -> list[Times]:
    """How long attempts took, by stage and outcome, since the platform was installed.

    Args:
        session: a reading session.
        owner_prefix: only the attempts of workers whose name begins so.
    """
    took = Attempt.ended_at - Attempt.started_at
    columns: list[ColumnElement[Any]] = [func.sum(case((took <= bound, 1), else_=0)) for bound in BUCKETS_S]
    query: Select[Any] = (
        select(StageRun.stage, Attempt.outcome, func.count(), func.sum(took), *columns)
        .join(StageRun, StageRun.id == Attempt.stage_run_id)
        .where(Attempt.ended_at.is_not(None))
        .group_by(StageRun.stage, Attempt.outcome)
    )
    if owner_prefix:
        query = query.where(Attempt.owner.startswith(owner_prefix, autoescape=True))
    return [_times(row) for row in session.execute(query)]


def running_now(session: Session, owner_prefix: str) -> int:
    """Stages whose lease is held by workers whose name begins so."""
    held = StageRun.lease_owner.startswith(owner_prefix, autoescape=True)
    return session.scalar(select(func.count()).where(StageRun.state == StageState.RUNNING, held)) or 0


def _times(row: Any) -> Times:
    stage, outcome, count, total, *within = row
    return Times(stage, outcome, tuple(int(value) for value in within), int(count), max(0.0, float(total)))
