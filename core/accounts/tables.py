"""Tables of the accounts: keys, quotas, the audit log. Tenants themselves are in `core.jobs.tables`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.clock import database_now
from core.jobs.tables import Base

_ID = String(48)


class ApiKey(Base):
    """A key of a tenant. Only its HMAC is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    start: Mapped[str] = mapped_column(String(16))
    """The key's first characters, by which its owner knows it again."""
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float] = mapped_column(default=database_now())
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    """To the minute."""
    revoked_at: Mapped[float | None]


class Quota(Base):
    """What one tenant may use where that is not the platform's default; NULL: the default."""

    __tablename__ = "quota"
    __table_args__ = (
        CheckConstraint("max_stored_bytes >= 0", name="stored_bytes"),
        CheckConstraint("max_video_seconds >= 0", name="video_seconds"),
        CheckConstraint("max_live_jobs >= 0", name="live_jobs"),
    )
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_video_seconds: Mapped[float | None] = mapped_column(Double)
    """Seconds of rendered video in 30 days."""
    max_live_jobs: Mapped[int | None]
    """Jobs that wait or run."""


class AuditEntry(Base):
    """Who did what, when. Rows are only ever added; each carries the hash of the one before it (see `audit.py`).

    The chain is the tenant's id, or `operator`. It is no foreign key: the log outlives the tenant.
    """

    __tablename__ = "audit_entry"
    chain: Mapped[str] = mapped_column(_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float]
    actor: Mapped[str] = mapped_column(String(100))
    """A key's id, `operator` or `platform`."""
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(100))
    request_id: Mapped[str] = mapped_column(String(100))
    data: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
