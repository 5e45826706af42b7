"""Links to objects of a local store that carry their own permission: method, key, limits and end, signed with HMAC.

What a presigned URL is to S3, such a link is to the API of this platform. Who has it needs no API key.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from core.errors import LikenessError

PREFIX = "/v1/objects/"
"""Where the API serves these links."""


class LinkRefusedError(LikenessError):
    """The link was changed, is not one of ours, or its time is over."""

    def __init__(self) -> None:
        super().__init__("link_refused", "This link is not valid, or not any more.", "Ask the API for a new one.")


class LinkSigner:
    """Makes links, and checks those that come back."""

    def __init__(self, secret_key: str) -> None:
        # A key of its own: what signs links never signs anything else.
        self._key = hmac.digest(secret_key.encode(), b"likeness object links", hashlib.sha256)

    def sign(self, method: str, key: str, seconds: float, **limits: str | int) -> str:
        """A link, as a path with a query. `limits` are kept in it, and trusted when it comes back."""
        values = {name: str(value) for name, value in limits.items()}
        values["expires"] = str(int(time.time() + seconds))
        return f"{PREFIX}{key}?{urlencode({**values, 'signature': self._signature(method, key, values)})}"

    def check(self, method: str, key: str, query: Mapping[str, str]) -> dict[str, str]:
        """The limits of a link that came back.

        Raises:
            LinkRefusedError: `link_refused`.
        """
        values = {name: value for name, value in query.items() if name != "signature"}
        expected = self._signature(method, key, values)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise LinkRefusedError
        if int(values.pop("expires")) < time.time():
            raise LinkRefusedError
        return values

    def _signature(self, method: str, key: str, values: Mapping[str, str]) -> str:
        signed = "\n".join([method, key, urlencode(sorted(values.items()))])
        return hmac.new(self._key, signed.encode(), hashlib.sha256).hexdigest()
