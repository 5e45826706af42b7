"""For the receiver of webhooks: whether a message is really the server's, and fresh."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

TOLERANCE_SECONDS = 300.0


class WebhookVerificationError(Exception):
    """The message is not signed with this secret, or it is too old."""


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance_s: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> dict[str, Any]:
    """Check a message (standardwebhooks.com) and return its payload: `type`, `timestamp`, `data`.

    Args:
        secret: `whsec_...`, as the server showed it.
        headers: of the request; the names' case does not matter.
        body: exactly the bytes that came: not parsed and written anew.
        tolerance_s: how far the message's time may be from now, against messages that are sent again by others.
        now: seconds since 1970; None: the clock's.

    Raises:
        WebhookVerificationError: do not believe the message.
    """
    named = {name.lower(): value for name, value in headers.items()}
    try:
        message, stamp, given = (named[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        sent = int(stamp)
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (KeyError, ValueError, binascii.Error):
        raise WebhookVerificationError("the headers or the secret are not those of a webhook") from None
    if abs((time.time() if now is None else now) - sent) > tolerance_s:
        raise WebhookVerificationError("the message is too old, or from the future")
    raw = body.encode() if isinstance(body, str) else body
    expected = base64.b64encode(hmac.new(key, f"{message}.{sent}.".encode() + raw, hashlib.sha256).digest())
    signatures = [part.partition(",")[2] for part in given.split() if part.startswith("v1,")]
    if not any(hmac.compare_digest(expected, one.encode()) for one in signatures):
        raise WebhookVerificationError("the signature is not right")
    payload: dict[str, Any] = json.loads(raw)
    return payload
