"""Writes the messages to a tenant's endpoints in the transaction of the event itself: one exists if the other does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint

TEST_EVENT = "webhook.test"
EVENT_TYPES = (
    "job.queued",
    "job.awaiting_upload",
    "job.awaiting_consent",
    "job.cancel_requested",
    "job.retried",
    "job.succeeded",
    "job.failed",
    "job.rejected",
    "job.cancelled",
    "job.expired",
    "stage.started",
    "stage.succeeded",
    "stage.requeued",
)
"""What can be sent. Progress is not: there is too much of it, and it can be polled or streamed."""


def fan_out(session: Session, tenant_id: str, event_type: str, data: dict[str, Any]) -> int:
    """Add a message for each endpoint of the tenant that wants this type. Returns how many.

    Args:
        session: the writing session of the event.
        tenant_id: whose event it is.
        event_type: one of `EVENT_TYPES`.
        data: what happened, as JSON.
    """
    if event_type not in EVENT_TYPES:
        return 0
    mine = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.enabled)
    wanted = [one for one in session.scalars(mine) if not one.events or event_type in one.events]
    for endpoint in wanted:
        add(session, endpoint, event_type, data)
    return len(wanted)


def add(session: Session, endpoint: WebhookEndpoint, event_type: str, data: dict[str, Any]) -> WebhookDelivery:
    """Add one message, due at once."""
    when = round(float(session.scalar(select(database_now())) or 0.0), 3)
    delivery = WebhookDelivery(
        id=new_id("dlv"),
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        type=event_type,
        payload={"type": event_type, "timestamp": when, "data": data},
        state="pending",
        log=[],
    )
    session.add(delivery)
    session.flush()
    return delivery
