"""The transactional outbox: a message is a row, written with its cause, sent later by the relay.

A message only says that a queue has work. Lost, doubled or late messages change when work starts, never what happens.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.tables import Outbox, StageRun

Publish = Callable[[str, str], None]
"""Send the message (queue, stage run id); raises OSError or ConnectionError where the broker is away."""

BATCH = 100
KEEP_SENT_SECONDS = 3600.0
MAX_BACKOFF_SECONDS = 30.0


def hint(session: Session, stage_run: StageRun, delay: float = 0.0) -> None:
    """Tell the stage's queue, `delay` seconds after the commit of the caller's transaction, that there is work."""
    payload = {"stage_run": stage_run.id}
    session.add(Outbox(topic=stage_run.queue, payload=payload, available_at=database_now() + delay))
    session.flush()


def relay_once(database: Database, publish: Publish) -> int:
    """Send the messages that are due. Returns how many were sent.

    A crash between sending and the commit sends a message again, which is harmless. Relays on several machines
    share the rows (SKIP LOCKED on Postgres; SQLite lets one write at a time).
    """
    due = (Outbox.sent_at.is_(None), Outbox.available_at <= database_now())
    with database.read() as session:
        if session.scalar(select(Outbox.id).where(*due).limit(1)) is None:
            return 0
    sent = 0
    with database.write() as session:
        rows = session.scalars(
            select(Outbox).where(*due).order_by(Outbox.id).limit(BATCH).with_for_update(skip_locked=True)
        ).all()
        for row in rows:
            try:
                publish(row.topic, str(row.payload["stage_run"]))
            except (OSError, ConnectionError):
                backoff = min(MAX_BACKOFF_SECONDS, 0.5 * 2.0 ** min(row.tries, 10))
                values = {"tries": Outbox.tries + 1, "available_at": database_now() + backoff}
                session.execute(update(Outbox).where(Outbox.id == row.id).values(values))
                break
            session.execute(update(Outbox).where(Outbox.id == row.id).values(sent_at=database_now()))
            sent += 1
    return sent


def forget_sent(session: Session) -> None:
    """Delete messages that were sent long ago."""
    session.execute(delete(Outbox).where(Outbox.sent_at < database_now() - KEEP_SENT_SECONDS))
