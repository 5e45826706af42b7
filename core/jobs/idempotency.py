"""Exactly one creation for each key that a caller chose, however often the call is sent.

The answer is written in the transaction that creates, so there is no moment at which one exists without the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import LikenessError
from core.jobs.tables import Idempotency


class IdempotencyMismatchError(LikenessError):
    """The key was used before, for another body."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request.",
            "Use a new key for every new request; repeat a key only to repeat the same request.",
        )


@dataclass(frozen=True)
class Answer:
    """What a POST that creates answers."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


def fingerprint(body: dict[str, Any]) -> str:
    """sha256 of the body's canonical JSON."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def once(
    session: Session, tenant_id: str, route: str, key: str | None, body: dict[str, Any], create: Callable[[], Answer]
) -> Answer:
    """Call `create`, or repeat the answer that it gave to the same key before.

    Two calls at the same time: the second waits for the first one's commit (for the write lock in SQLite, for the
    primary key in Postgres) and repeats its answer.

    Raises:
        IdempotencyMismatchError: the key belongs to another body.
    """
    if key is None:
        return create()
    mark = fingerprint(body)
    row = Idempotency(tenant_id=tenant_id, route=route, key=key, fingerprint=mark, status=0, body={})
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        known = session.scalars(
            select(Idempotency).where(
                Idempotency.tenant_id == tenant_id, Idempotency.route == route, Idempotency.key == key
            )
        ).one()
        if known.fingerprint != mark:
            raise IdempotencyMismatchError from None
        return Answer(known.status, known.body, replayed=True)
    answer = create()
    row.status, row.body = answer.status, answer.body
    session.flush()
    return answer
