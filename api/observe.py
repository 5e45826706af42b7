"""What surrounds every request: its id, its trace, its log line, its count. Plain ASGI, so that streams stream.

It knows no resource. Whoever finds out whose request it is says so with `note_tenant`.
"""

from __future__ import annotations

import re
import time

import structlog
from fastapi import Request
from opentelemetry.trace import Span
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.health.metrics import Metrics
from core.jobs.identifiers import new_id
from core.telemetry import REQUEST, mark_failed, request_span

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_QUIET = ("/healthz", "/readyz", "/metrics")
"""Probes and scrapes: counted, but neither logged nor traced."""
VERSION = "/v1"
"""Where the versioned API lies."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_log = structlog.get_logger(__name__)


def note_tenant(request: Request, tenant: str) -> None:
    """Tell the request's log line and span whose it is."""
    request.state.tenant = tenant


class Observe:
    """ASGI middleware: gives the request an id, which its answer and log lines carry, traces it, and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        answer = _Answer(self._metrics, scope, request_id)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.begins(message)
            await send(message)

        with structlog.contextvars.bound_contextvars(**{REQUEST: request_id}):
            if scope["path"].endswith(_QUIET):
                await self._app(scope, receive, sending)
                return
            with request_span(headers, answer.method) as span:
                try:
                    await self._app(scope, receive, sending)
                except Exception:
                    answer.failed()
                    raise  # to the outermost layer, which answers with a problem body
                finally:
                    answer.ended(span)


class _Answer:
    """What is told of one request."""

    def __init__(self, metrics: Metrics, scope: Scope, request_id: str) -> None:
        self._metrics = metrics
        self._scope = scope
        self._request_id = request_id
        self._began = time.monotonic()
        self._status = 0
        self.method = scope["method"] if scope["method"] in _METHODS else "other"

    @property
    def _route(self) -> str:
        """The path with its parameters' names in place of their values: few, and without a tenant's ids."""
        route = getattr(self._scope.get("route"), "path", None)
        if not isinstance(route, str):
            return "unknown"
        # A nested router's route only knows the part of the path that is its own.
        nested = self._scope["path"].startswith(f"{VERSION}/") and not route.startswith(f"{VERSION}/")
        return f"{VERSION}{route}" if nested else route

    def begins(self, message: Message) -> None:
        """The first byte is on its way."""
        MutableHeaders(scope=message)["X-Request-Id"] = self._request_id
        self._count(message["status"])

    def failed(self) -> None:
        """Nothing of ours dealt with the error: where nothing was sent yet, the answer will be a 500."""
        if not self._status:
            self._count(500)

    def _count(self, status: int) -> None:
        self._status = status
        self._metrics.requests.labels(self.method, self._route, status).inc()
        self._metrics.seconds.labels(self.method, self._route).observe(time.monotonic() - self._began)

    def ended(self, span: Span) -> None:
        """The last byte is sent, or the caller has gone."""
        tenant = self._scope["state"].get("tenant", "")
        span.update_name(f"{self.method} {self._route}")
        span.set_attributes(
            {
                "http.request.method": self.method,
                "http.route": self._route,
                "http.response.status_code": self._status,
                "likeness.request": self._request_id,
                "likeness.tenant": tenant,
            }
        )
        if self._status >= 500 or not self._status:
            mark_failed(span, f"status {self._status}")
        took = round((time.monotonic() - self._began) * 1000, 1)
        _log.info(
            "request", method=self.method, route=self._route, status=self._status, milliseconds=took, tenant=tenant
        )
