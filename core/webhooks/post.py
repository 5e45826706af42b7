"""One POST to a stranger's host: to a checked address, without redirects, in bounded time, with a bounded answer."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass

from core.webhooks.addresses import WebhookRefusedError, parse, resolve

ANSWER_BYTES = 2048
_KEPT_CHARACTERS = 500


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    status: int | None
    """Of the answer; None where there was none."""
    error: str | None
    """Why not, in a word or two; None for a 2xx answer."""
    seconds: float
    answer: str
    """The answer's first characters. A stranger's text: shown, never obeyed."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it: a 2xx answer."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, headers: dict[str, str], body: bytes, *, timeout_s: float, allow_private: bool) -> Outcome:
    """Send one message. Every failure is an outcome, not an exception.

    Args:
        url: of the receiver.
        headers: of the message; Host and lengths are added.
        body: JSON.
        timeout_s: for all of it but the name's resolution, however slowly the receiver answers.
        allow_private: let it go to http and to addresses that are not public.
    """
    began = time.monotonic()

    def ended(status: int | None, error: str | None, answer: str = "") -> Outcome:
        return Outcome(status, error, round(time.monotonic() - began, 3), answer)

    try:
        destination = parse(url, allow_private=allow_private)
        address = resolve(destination, allow_private=allow_private)
    except WebhookRefusedError as error:
        return ended(None, f"refused: {error.message}")
    except OSError:
        return ended(None, "the host's name can't be resolved")
    try:
        with contextlib.ExitStack() as stack:
            link = socket.create_connection((address, destination.port), timeout=timeout_s)
            stack.callback(link.close)
            if destination.scheme == "https":
                link = ssl.create_default_context().wrap_socket(link, server_hostname=destination.host)
                stack.callback(link.close)
            # A time-out of a socket starts anew with each byte: the alarm ends a receiver that trickles.
            alarm = threading.Timer(timeout_s, _cut, (link,))
            alarm.start()
            stack.callback(alarm.cancel)
            connection = http.client.HTTPConnection(destination.host, destination.port, timeout=timeout_s)
            connection.sock = link
            whole = {"Host": destination.host_header, "User-Agent": "Likeness-Webhooks/1", "Connection": "close"}
            connection.request("POST", destination.target, body, {**whole, **headers})
            answer = connection.getresponse()
            text = answer.read(ANSWER_BYTES).decode("utf-8", "replace")[:_KEPT_CHARACTERS].replace("\0", "")
            return ended(answer.status, None if 200 <= answer.status < 300 else f"status {answer.status}", text)
    except TimeoutError:
        return ended(None, "no answer in time")
    except ssl.SSLError as error:
        return ended(None, f"TLS: {error.reason or 'failed'}")
    except (OSError, http.client.HTTPException) as error:
        return ended(None, f"connection failed: {type(error).__name__}")


def _cut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
