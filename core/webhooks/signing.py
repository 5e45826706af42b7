"""Secrets and signatures of webhooks, as standardwebhooks.com describes them.

A secret is not stored: it is the HMAC of the endpoint's id and a random salt under the platform's own key. A copy of
the database signs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_salt() -> str:
    """What makes the next secret of an endpoint differ from the last."""
    return secrets.token_hex(16)


def endpoint_secret(platform_secret: str, endpoint_id: str, salt: str) -> str:
    """`whsec_` and 32 bytes in base64: what the receiver is shown once."""
    said = f"webhook:{endpoint_id}:{salt}".encode()
    return PREFIX + base64.b64encode(hmac.new(platform_secret.encode(), said, hashlib.sha256).digest()).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(secret_list: list[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one message, signed with each secret that is valid now (two while a rotation overlaps)."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secret_list),
    }
