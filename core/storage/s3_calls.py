"""How calls to an S3 server are made: addresses, time-outs, patience, and its errors as ours."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, IncompleteReadError

from core.errors import LikenessError
from core.settings import Settings
from core.storage.protocol import ObjectExistsError, ObjectMissingError, StorageRefusedError, StorageUnavailableError

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchUpload"})
_BUSY = frozenset({"ConditionalRequestConflict", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"})
_BROKEN = (ConnectionError, HTTPClientError, IncompleteReadError)

Answer = TypeVar("Answer")


def open_client(settings: Settings, endpoint: str) -> Any:
    """A boto3 client that does one try of each call: `Patience` repeats them, and knows that it did.

    Checksums that S3 servers may not know are only sent where we ask for them.
    """
    return boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Patience:
    """Repeats a call while the server is busy or away: pauses double from 0.2 s to 5 s, each spread by a third."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._pause = FIRST_PAUSE_SECONDS
        self.tries = 0

    def call(self, key: str, once: Callable[[], Answer]) -> Answer:
        """The answer of `once`.

        Raises:
            StorageUnavailableError: the patience is over.
            ObjectMissingError: the server has no such object.
            ObjectExistsError: a condition was not met.
            StorageRefusedError: any other refusal.
        """
        while True:
            self.tries += 1
            try:
                return once()
            except (BotoCoreError, ClientError) as error:
                known = as_ours(error, key)
                if not isinstance(known, StorageUnavailableError) or not self.wait():
                    raise known from error

    def wait(self) -> bool:
        """Pause before another try. Returns False, at once, where the patience is over."""
        pause = self._pause * random.uniform(0.67, 1.33)  # noqa: S311 - spreads callers, guards nothing
        if time.monotonic() + pause > self._until:
            return False
        time.sleep(pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return True

    def renew(self) -> None:
        """Start anew: something came."""
        self._until = time.monotonic() + self._seconds
        self._pause = FIRST_PAUSE_SECONDS


def as_ours(error: BotoCoreError | ClientError, key: str) -> LikenessError:
    """The typed error for what botocore raised about `key`."""
    if isinstance(error, _BROKEN):
        return StorageUnavailableError()
    if not isinstance(error, ClientError):
        return StorageRefusedError(type(error).__name__)
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or status == 429 or code in _BUSY:
        return StorageUnavailableError()
    if code in _MISSING:
        return ObjectMissingError(key)
    if status in (409, 412):
        return ObjectExistsError(key)
    return StorageRefusedError(code or str(status))
