"""Tenants and their API keys. A key is shown once; the database keeps its HMAC: a copy of it opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.identifiers import new_id
from core.jobs.tables import ApiKey, Tenant

PREFIX = "lk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 40
_CHECK_LENGTH = 6


def create_tenant(session: Session, name: str) -> str:
    """Add a tenant. Returns its id."""
    tenant = Tenant(id=new_id("ten"), name=name)
    session.add(tenant)
    session.flush()
    return tenant.id


def create_key(session: Session, tenant_id: str, secret_key: str) -> str:
    """Add a key of the tenant. Returns the key itself: it can't be had again."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    key = f"{PREFIX}{body}{_checksum(body)}"
    session.add(ApiKey(id=new_id("key"), tenant_id=tenant_id, digest=_digest(key, secret_key)))
    session.flush()
    return key


def tenant_of_key(session: Session, key: str, secret_key: str) -> str | None:
    """The tenant that this key belongs to, or None for a key that is malformed, unknown or revoked."""
    body, check = key[len(PREFIX) : -_CHECK_LENGTH], key[-_CHECK_LENGTH:]
    if not key.startswith(PREFIX) or not key.isascii() or check != _checksum(body):
        return None
    return session.scalar(
        select(ApiKey.tenant_id).where(ApiKey.digest == _digest(key, secret_key), ApiKey.revoked_at.is_(None))
    )


def _digest(key: str, secret_key: str) -> str:
    return hmac.new(secret_key.encode(), key.encode(), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    """So that a scanner for leaked secrets, and we, know a key of ours without asking the database."""
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_LENGTH):
        value, rest = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits
