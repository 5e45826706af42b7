"""Calls over HTTP that are tried again: while the server is away or busy, and as late as it asks. Knows no resource."""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from likeness_client.errors import ApiProblemError, ClientError, ServerUnreachableError, problem_error
from likeness_client.models import File

TRIES = 5
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 60.0
RETRY_STATUSES = frozenset({429, 502, 503, 504})
CHUNK = 1 << 20


class Connection:
    """To one server with one API key. Not to be shared between threads."""

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        self.http = httpx.Client(
            base_url=url.rstrip("/"), headers={"Authorization": f"Bearer {api_key}"}, timeout=timeout_s
        )
        self.files = httpx.Client(timeout=timeout_s)  # for targets of uploads: they must not be told the key

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
        self.files.close()

    def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        """The JSON at a path."""
        return self.call("GET", path, params=params).json()

    def create(self, path: str, body: dict[str, Any]) -> Any:
        """POST under a new Idempotency-Key: repeated after a lost answer, it creates nothing twice."""
        return self.call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).json()

    def pages(self, path: str, params: dict[str, Any] | None = None) -> Iterator[Any]:
        """The items of all pages of a list."""
        cursor: str | None = None
        while True:
            page = self.get(path, {"limit": 100, **(params or {}), **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def call(
        self,
        method: str,
        path: str,
        *,
        stream: Callable[[], Iterator[bytes]] | None = None,
        http: httpx.Client | None = None,
        **options: Any,
    ) -> httpx.Response:
        """One call, tried again while the server is away or busy. Every call of this client may be repeated.

        Raises:
            ServerUnreachableError: no answer.
            ApiProblemError: the answer is a problem body.
        """
        for number in range(TRIES):
            if stream is not None:
                options["content"] = stream()
            wait = _pause(number)
            try:
                answer = (http or self.http).request(method, path, **options)
            except httpx.TransportError as error:
                if number == TRIES - 1:
                    raise ServerUnreachableError(f"no answer from {self.http.base_url}: {error}") from error
            else:
                if answer.status_code not in RETRY_STATUSES or number == TRIES - 1:
                    return check(answer)
                wait = max(wait, asked_pause(answer))
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def download(self, path: str, destination: Path, file: File | None = None) -> None:
        """Write what lies at a path to `destination`, whole or not at all; with `file`, its sha256 is checked.

        Raises:
            ClientError: the bytes are not those that the server named.
            ServerUnreachableError: no answer, or it broke off each time.
            ApiProblemError: the answer is a problem body.
        """
        partial = destination.with_name(destination.name + ".partial")
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            for number in range(TRIES):
                wait = _pause(number)
                try:
                    digest = self._fetch(path, partial)
                    break
                except httpx.TransportError as error:
                    if number == TRIES - 1:
                        raise ServerUnreachableError(f"the download broke off: {error}") from error
                except ApiProblemError as error:
                    if error.status not in RETRY_STATUSES or number == TRIES - 1:
                        raise
                    wait = max(wait, error.retry_after_s or 0.0)
                time.sleep(wait)
            if file is not None and digest != file.sha256:
                raise ClientError("the download does not have the sha256 that the server named")
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)

    def _fetch(self, path: str, partial: Path) -> str:
        digest = hashlib.sha256()
        # The answer is a link to another server, perhaps; httpx does not send the key there.
        with self.http.stream("GET", path, follow_redirects=True) as answer:
            if answer.status_code != 200:
                answer.read()
                check(answer)
            with partial.open("wb") as writer:
                for chunk in answer.iter_bytes(CHUNK):
                    digest.update(chunk)
                    writer.write(chunk)
        return digest.hexdigest()


def check(answer: httpx.Response) -> httpx.Response:
    """The answer itself, if it is a good one.

    Raises:
        ApiProblemError: it is not.
    """
    if answer.is_success:
        return answer
    try:
        body = answer.json()
    except ValueError:
        body = {"detail": answer.text[:200]}
    error = problem_error(answer.status_code, body if isinstance(body, dict) else {})
    error.retry_after_s = asked_pause(answer) or None
    raise error


def asked_pause(answer: httpx.Response) -> float:
    """Seconds that `Retry-After` asks for, at most a minute; 0 where it asks for none."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE_SECONDS) if asked.isdigit() else 0.0


def _pause(number: int) -> float:
    spread = random.uniform(0.7, 1.3)  # noqa: S311 - spreads callers, guards nothing
    return float(FIRST_PAUSE_SECONDS * 2**number * spread)
