"""Sends the messages that are due, and decides when to try again.

A sender takes a message by moving its `next_at` on (compare-and-set), sends it outside any transaction, and writes how
it went. A sender that dies in between has the message sent again: receivers know it by its `webhook-id`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.steps import changed
from core.webhooks.post import Outcome, post
from core.webhooks.signing import endpoint_secret, headers
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint

PAUSES_SECONDS = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
"""Between two tries: nine tries in about a day."""
TAKEN_SECONDS = 120.0
BATCH = 32
SENDERS = 8
GONE = 410
_LOG_LENGTH = 30


KEEP_SECONDS = 30 * 24 * 3600.0
"""So long the log of messages goes back."""


@dataclass(frozen=True)
class _Message:
    delivery_id: str
    url: str
    secrets: list[str]
    body: bytes
    now: float


def deliver_once(
    database: Database,
    platform_secret: str,
    *,
    timeout_s: float = 10.0,
    allow_private: bool = False,
    pauses_s: Sequence[float] = PAUSES_SECONDS,
) -> int:
    """Send what is due, several at a time. Returns how many messages were taken by their receivers.

    Args:
        database: the platform's.
        platform_secret: from which the secrets of the endpoints follow.
        timeout_s: of one attempt.
        allow_private: let messages go to http and to addresses that are not public.
        pauses_s: between two tries; after the last one the message has failed and its endpoint is disabled.
    """
    messages = _take(database, platform_secret)
    if not messages:
        return 0

    def send(message: _Message) -> Outcome:
        signed = headers(message.secrets, message.delivery_id, int(message.now), message.body)
        return post(message.url, signed, message.body, timeout_s=timeout_s, allow_private=allow_private)

    delivered = 0
    with ThreadPoolExecutor(SENDERS, "webhook") as pool:
        for message, outcome in zip(messages, pool.map(send, messages), strict=True):
            with database.write() as session:
                _record(session, message, outcome, pauses_s)
            delivered += outcome.delivered
    return delivered


def forget_old(database: Database) -> None:
    """Delete messages that were delivered, or given up, long ago."""
    old = WebhookDelivery.created_at < database_now() - KEEP_SECONDS
    with database.write() as session:
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.state != "pending", old))


def _take(database: Database, platform_secret: str) -> list[_Message]:
    due = (WebhookDelivery.state == "pending", WebhookDelivery.next_at <= database_now())
    enabled = (WebhookEndpoint.id == WebhookDelivery.endpoint_id, WebhookEndpoint.enabled)
    with database.read() as session:
        ids = session.scalars(
            select(WebhookDelivery.id).join(WebhookEndpoint, enabled[0]).where(*due, enabled[1])
            .order_by(WebhookDelivery.next_at).limit(BATCH)
        ).all()  # fmt: skip
    messages = []
    for delivery_id in ids:
        with database.write() as session:
            take = update(WebhookDelivery).where(WebhookDelivery.id == delivery_id, *due)
            if changed(session, take.values(next_at=database_now() + TAKEN_SECONDS)) == 0:
                continue
            delivery = session.get_one(WebhookDelivery, delivery_id)
            endpoint = session.get_one(WebhookEndpoint, delivery.endpoint_id)
            now = float(session.scalar(select(database_now())) or 0.0)
            secrets = [endpoint_secret(platform_secret, endpoint.id, endpoint.salt)]
            if endpoint.old_salt is not None and (endpoint.old_salt_until or 0.0) > now:
                secrets.append(endpoint_secret(platform_secret, endpoint.id, endpoint.old_salt))
            body = json.dumps(delivery.payload, separators=(",", ":")).encode()
            messages.append(_Message(delivery_id, endpoint.url, secrets, body, now))
    return messages


def _record(session: Session, message: _Message, outcome: Outcome, pauses_s: Sequence[float]) -> None:
    delivery = session.get(WebhookDelivery, message.delivery_id)
    if delivery is None:  # its endpoint was deleted meanwhile
        return
    tried = {
        "at": round(message.now, 3),
        "status": outcome.status,
        "error": outcome.error,
        "seconds": outcome.seconds,
        "answer": outcome.answer,
    }
    values: dict[str, Any] = {"log": [*delivery.log, tried][-_LOG_LENGTH:], "tries": delivery.tries + 1}
    if outcome.delivered:
        values |= {"state": "delivered", "delivered_at": database_now()}
    elif outcome.status == GONE:
        values |= {"state": "failed"}
        _disable(session, delivery.endpoint_id, "It answered 410 Gone.")
    elif delivery.tries >= len(pauses_s):
        values |= {"state": "failed"}
        _disable(session, delivery.endpoint_id, f"A message failed {delivery.tries + 1} times.")
    else:
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads senders, guards nothing
        values |= {"next_at": database_now() + pauses_s[delivery.tries] * spread}
    changed(session, update(WebhookDelivery).where(WebhookDelivery.id == delivery.id).values(values))


def _disable(session: Session, endpoint_id: str, reason: str) -> None:
    live = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.enabled)
    changed(session, live.values(enabled=False, disabled_reason=reason))
