"""Where job events are sent to, and every message that was or will be sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.clock import database_now
from core.jobs.tables import Base

_ID = String(48)


class WebhookEndpoint(Base):
    """A URL of a tenant. Its secret is not stored: it follows from the platform's key and a salt (see `signing.py`)."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index("ix_webhook_endpoint_tenant_id_id", "tenant_id", "id"),)
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str] = mapped_column(String(200))
    events: Mapped[list[str]]
    """The types that it wants; empty: all of them."""
    salt: Mapped[str] = mapped_column(String(32))
    old_salt: Mapped[str | None] = mapped_column(String(32))
    old_salt_until: Mapped[float | None]
    """Until then messages are signed with the secret before the last rotation, too."""
    enabled: Mapped[bool]
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[float] = mapped_column(default=database_now())


class WebhookDelivery(Base):
    """One message to one endpoint, with the log of its attempts."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
        Index("ix_webhook_delivery_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_webhook_delivery_due",
            "next_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int] = mapped_column(default=0)
    """Since it was made or asked to be sent again: what the pause before the next try follows from."""
    next_at: Mapped[float] = mapped_column(default=database_now())
    """When to try (again); a sender that takes it moves this on, so that no other takes it too."""
    log: Mapped[list[dict[str, Any]]]
    """One object for each attempt: `at`, `status`, `error`, `seconds`, `answer` (its first bytes)."""
    created_at: Mapped[float] = mapped_column(default=database_now())
    delivered_at: Mapped[float | None]
