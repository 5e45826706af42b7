"""The audit log: rows that are only added, each with the hash of the one before it, one chain for each tenant.

The chain shows a row that was changed, removed from the middle or put in. That rows were cut off at the end, it shows
only to someone who wrote the last hash down (`likeness audit verify` prints it, and takes it with --expect).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.accounts.tables import AuditEntry
from core.jobs.clock import database_now

OPERATOR = "operator"
START = "0" * 64
_LOCK_SPACE = 7_1001
"""First key of the advisory locks of Postgres that guard the ends of the chains."""


@dataclass(frozen=True)
class Verdict:
    """What a look at one chain found."""

    chain: str
    entries: int
    head: str
    """Hash of the last entry."""
    broken_at: int | None
    """Number of the first entry that does not fit, or None."""


def record(
    session: Session,
    chain: str,
    *,
    actor: str,
    action: str,
    subject: str,
    request_id: str = "",
    **data: Any,
) -> None:
    """Add an entry in the caller's transaction; it is there if what it tells of is.

    Args:
        session: a writing session. On Postgres the chain's end is locked until its commit: call this last.
        chain: the tenant's id, or `OPERATOR`.
        actor: a key's id, `operator` or `platform`.
        action: such as `identity.deleted`.
        subject: the id of what it was done to.
        request_id: of the call, where it was one.
        data: more, as JSON.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:space, :chain)")
        session.execute(lock, {"space": _LOCK_SPACE, "chain": zlib.crc32(chain.encode()) - 2**31})
    last = session.execute(
        select(AuditEntry.number, AuditEntry.hash)
        .where(AuditEntry.chain == chain)
        .order_by(AuditEntry.number.desc())
        .limit(1)
    ).first()
    number, previous = (last.number + 1, last.hash) if last is not None else (1, START)
    entry = AuditEntry(
        chain=chain,
        number=number,
        at=round(float(session.scalar(select(database_now())) or 0.0), 3),
        actor=actor,
        action=action,
        subject=subject,
        request_id=request_id,
        data=data,
        previous=previous,
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    session.flush()


def entry_hash(entry: AuditEntry) -> str:
    """sha256 over the canonical JSON of all that the entry says, the hash before it included."""
    said = {
        "chain": entry.chain,
        "number": entry.number,
        "at": f"{entry.at:.3f}",
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "request_id": entry.request_id,
        "data": entry.data,
        "previous": entry.previous,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def chains(session: Session) -> list[str]:
    """The names of all chains."""
    return list(session.scalars(select(AuditEntry.chain).distinct().order_by(AuditEntry.chain)))


def verify(session: Session, chain: str) -> Verdict:
    """Walk the chain from its start."""
    expected, previous, number = 1, START, 0
    rows = select(AuditEntry).where(AuditEntry.chain == chain).order_by(AuditEntry.number)
    for entry in session.scalars(rows.execution_options(yield_per=500)):
        number = entry.number
        if number != expected or entry.previous != previous or entry.hash != entry_hash(entry):
            return Verdict(chain, number, previous, number)
        expected, previous = expected + 1, entry.hash
    return Verdict(chain, number, previous, None)
