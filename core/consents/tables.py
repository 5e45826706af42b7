"""The table of consents, and their states."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.clock import database_now
from core.jobs.tables import Base

_ID = String(48)


class ConsentState(StrEnum):
    """Where a consent is."""

    PENDING = "pending"
    """Its evidence is not here, or not judged yet."""
    VERIFIED = "verified"
    REJECTED = "rejected"
    """The evidence does not show consent."""
    REVOKED = "revoked"
    """Taken back: what was made under it is gone."""
    EXPIRED = "expired"


class Consent(Base):
    """A person's agreement to an avatar, for a purpose, until it is revoked or ends."""

    __tablename__ = "consent"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(str(state)) for state in ConsentState)})", name="state"),
        CheckConstraint("(state = 'revoked') = (revoked_at IS NOT NULL)", name="revoked"),
        CheckConstraint("state != 'verified' OR decided_at IS NOT NULL", name="decided"),
        Index("ix_consent_tenant_id_id", "tenant_id", "id"),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    subject: Mapped[str] = mapped_column(String(200))
    """Who agrees."""
    statement: Mapped[str] = mapped_column(Text)
    """To what, in the words that the person agreed to."""
    purpose: Mapped[str] = mapped_column(String(500))
    attested: Mapped[bool]
    """The caller attests that the person agreed, or is the person."""
    state: Mapped[str] = mapped_column(String(16))
    phrase: Mapped[str | None] = mapped_column(String(200))
    """What the person says in the evidence; it proves that the recording is not an old one."""
    phrase_until: Mapped[float | None]
    evidence_upload_id: Mapped[str | None] = mapped_column(ForeignKey("upload.id"))
    evidence_sha256: Mapped[str | None] = mapped_column(String(64))
    evidence_at: Mapped[float | None]
    checks: Mapped[list[dict[str, Any]]]
    """What the checkers found."""
    decided_by: Mapped[str | None] = mapped_column(String(100))
    decided_at: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(String(500))
    """Of the decision or the revocation."""
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=database_now())
