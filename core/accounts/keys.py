"""Tenants and their API keys. A key is shown once; the database keeps its HMAC: a copy of it opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from core.accounts.tables import ApiKey
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.steps import changed
from core.jobs.tables import Tenant

PREFIX = "lk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 40
_CHECK_LENGTH = 6
_SHOWN_LENGTH = len(PREFIX) + 6
USED_STEP_SECONDS = 60.0


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    """Look at and download everything but keys and the audit log."""
    WRITE = "write"
    """Upload, make, cancel, retry and delete."""
    CONSENTS = "consents"
    """Record and revoke consents."""
    REVIEW = "review"
    """Judge the evidence of consents."""
    WEBHOOKS = "webhooks"
    """Manage webhook endpoints and send messages again."""
    ADMIN = "admin"
    """Manage the tenant's keys and read its audit log."""


ALL_SCOPES = tuple(Scope)
USUAL_SCOPES = (Scope.READ, Scope.WRITE, Scope.CONSENTS, Scope.WEBHOOKS)


@dataclass(frozen=True)
class KeyHolder:
    """Whose key it is, and what it may do."""

    tenant_id: str
    key_id: str
    scopes: frozenset[str]
    expires_at: float | None
    """Seconds since 1970."""


def create_tenant(session: Session, name: str) -> str:
    """Add a tenant. Returns its id."""
    tenant = Tenant(id=new_id("ten"), name=name)
    session.add(tenant)
    session.flush()
    return tenant.id


def create_key(
    session: Session,
    tenant_id: str,
    secret_key: str,
    *,
    name: str = "key",
    scopes: Sequence[str] = ALL_SCOPES,
    lifetime_s: float | None = None,
) -> str:
    """Add a key of the tenant. Returns the key itself: it can't be had again.

    Args:
        session: a writing session.
        tenant_id: the owner.
        secret_key: the platform's, under which the key's HMAC is made.
        name: for people.
        scopes: of `Scope`.
        lifetime_s: seconds from now after which it is worth nothing.
    """
    return make_key(session, tenant_id, secret_key, name=name, scopes=scopes, lifetime_s=lifetime_s)[1]


def make_key(
    session: Session, tenant_id: str, secret_key: str, *, name: str, scopes: Sequence[str], lifetime_s: float | None
) -> tuple[ApiKey, str]:
    """As `create_key`, with its row."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    key = f"{PREFIX}{body}{_checksum(body)}"
    row = ApiKey(
        id=new_id("key"),
        tenant_id=tenant_id,
        name=name,
        start=key[:_SHOWN_LENGTH],
        digest=digest(key, secret_key),
        scopes=sorted({str(Scope(scope)) for scope in scopes}),
    )
    session.add(row)
    session.flush()
    if lifetime_s is not None:
        end = update(ApiKey).where(ApiKey.id == row.id).values(expires_at=database_now() + lifetime_s)
        changed(session, end)
    session.refresh(row)
    return row, key


def well_formed(key: str) -> bool:
    """Whether the text can be a key of ours: a mistyped one is refused without asking the database."""
    body, check = key[len(PREFIX) : -_CHECK_LENGTH], key[-_CHECK_LENGTH:]
    return key.startswith(PREFIX) and key.isascii() and check == _checksum(body)


def holder_of_key(session: Session, key: str, secret_key: str) -> KeyHolder | None:
    """Who holds this key, or None for one that is malformed, unknown, revoked or expired."""
    if not well_formed(key):
        return None
    live = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > database_now())
    found = select(ApiKey).where(ApiKey.digest == digest(key, secret_key), ApiKey.revoked_at.is_(None), live)
    row = session.scalar(found)
    if row is None:
        return None
    return KeyHolder(row.tenant_id, row.id, frozenset(row.scopes), row.expires_at)


def tenant_of_key(session: Session, key: str, secret_key: str) -> str | None:
    """The tenant that this key belongs to, or None (see `holder_of_key`)."""
    holder = holder_of_key(session, key, secret_key)
    return holder.tenant_id if holder is not None else None


def unused_lately(session: Session, key_id: str) -> bool:
    """Whether `mark_used` has something to note."""
    return session.scalar(select(ApiKey.id).where(ApiKey.id == key_id, _stale())) is not None


def mark_used(session: Session, key_id: str) -> None:
    """Note that the key is in use; no more than once a minute."""
    changed(session, update(ApiKey).where(ApiKey.id == key_id, _stale()).values(last_used_at=database_now()))


def revoke_key(session: Session, tenant_id: str, key_id: str) -> bool:
    """End a key for good. Returns False where the tenant has no such live key."""
    mine = (ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None))
    return changed(session, update(ApiKey).where(*mine).values(revoked_at=database_now())) == 1


def _stale() -> ColumnElement[bool]:
    return or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < database_now() - USED_STEP_SECONDS)


def digest(key: str, secret_key: str) -> str:
    """What the database keeps of a key."""
    return hmac.new(secret_key.encode(), key.encode(), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    """So that a scanner for leaked secrets, and we, know a key of ours without asking the database."""
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_LENGTH):
        value, rest = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits
