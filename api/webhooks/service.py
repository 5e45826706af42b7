"""Webhook endpoints and deliveries of a tenant."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.deps import Platform
from api.problems import ApiError, NotFoundError
from api.webhooks.schemas import AttemptOut, DeliveryOut, EndpointChange, EndpointCreate, EndpointOut
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.steps import changed
from core.webhooks.addresses import parse
from core.webhooks.signing import endpoint_secret, new_salt
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint

MAX_ENDPOINTS = 20
OVERLAP_SECONDS = 24 * 3600.0
"""For so long after a rotation messages carry a signature with the old secret, too."""


def find(session: Session, tenant: str, endpoint_id: str) -> WebhookEndpoint:
    """The tenant's endpoint.

    Raises:
        NotFoundError: no such endpoint, or not this tenant's.
    """
    mine = (WebhookEndpoint.id == endpoint_id, WebhookEndpoint.tenant_id == tenant)
    endpoint = session.scalar(select(WebhookEndpoint).where(*mine))
    if endpoint is None:
        raise NotFoundError("webhook endpoint")
    return endpoint


def find_delivery(session: Session, tenant: str, delivery_id: str) -> WebhookDelivery:
    """The tenant's delivery.

    Raises:
        NotFoundError: no such delivery, or not this tenant's.
    """
    mine = (WebhookDelivery.id == delivery_id, WebhookDelivery.tenant_id == tenant)
    delivery = session.scalar(select(WebhookDelivery).where(*mine))
    if delivery is None:
        raise NotFoundError("delivery")
    return delivery


def create(session: Session, platform: Platform, tenant: str, body: EndpointCreate) -> WebhookEndpoint:
    """Add an endpoint.

    Raises:
        ApiError: `too_many_endpoints`.
        WebhookRefusedError: `webhook_url_refused`.
    """
    parse(body.url, allow_private=platform.settings.webhook_allow_private)
    count = select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant)
    if (session.scalar(count) or 0) >= MAX_ENDPOINTS:
        raise ApiError("too_many_endpoints", f"There are {MAX_ENDPOINTS} endpoints already.", "Delete one first.")
    endpoint = WebhookEndpoint(
        id=new_id("whe"),
        tenant_id=tenant,
        url=body.url,
        description=body.description,
        events=sorted(set(body.events)),
        salt=new_salt(),
        enabled=True,
    )
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    return endpoint


def change(session: Session, platform: Platform, endpoint: WebhookEndpoint, body: EndpointChange) -> None:
    """Change what the body names.

    Raises:
        WebhookRefusedError: `webhook_url_refused`.
    """
    values: dict[str, Any] = body.model_dump(exclude_none=True)
    if body.url is not None:
        parse(body.url, allow_private=platform.settings.webhook_allow_private)
    if body.events is not None:
        values["events"] = sorted(set(body.events))
    if body.enabled:
        values["disabled_reason"] = None
    for name, value in values.items():
        setattr(endpoint, name, value)
    session.flush()


def rotate(session: Session, endpoint: WebhookEndpoint) -> None:
    """Give the endpoint a new secret; the old one still signs for a day."""
    values = {
        "salt": new_salt(),
        "old_salt": endpoint.salt,
        "old_salt_until": database_now() + OVERLAP_SECONDS,
    }
    changed(session, update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint.id).values(values))
    session.refresh(endpoint)


def send_again(session: Session, delivery: WebhookDelivery) -> None:
    """Make a message due now, with all its tries before it, whatever became of it."""
    again = update(WebhookDelivery).where(WebhookDelivery.id == delivery.id)
    changed(session, again.values(state="pending", tries=0, next_at=database_now(), delivered_at=None))
    session.refresh(delivery)


def secret_of(platform: Platform, endpoint_id: str, salt: str) -> str:
    """The endpoint's secret."""
    return endpoint_secret(platform.secret_key, endpoint_id, salt)


def describe(endpoint: WebhookEndpoint) -> EndpointOut:
    """The endpoint as the API shows it."""
    return EndpointOut.model_validate(endpoint, from_attributes=True)


def describe_delivery(delivery: WebhookDelivery) -> DeliveryOut:
    """The delivery as the API shows it."""
    return DeliveryOut(
        id=delivery.id,
        endpoint=delivery.endpoint_id,
        type=delivery.type,
        state=delivery.state,  # type: ignore[arg-type]
        payload=delivery.payload,
        attempts=[AttemptOut(**tried) for tried in delivery.log],
        next_at=delivery.next_at if delivery.state == "pending" else None,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
    )
