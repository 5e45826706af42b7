"""Where a job comes from: the request and the trace that asked for it, as the two strings that the job's row keeps."""

from __future__ import annotations

import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

REQUEST = "request"
"""Name of the request id, in log lines and in a job's origin."""
TRACE_PARENT = "traceparent"
"""W3C Trace Context, `00-<trace id>-<span id>-<flags>`."""

_FORMAT = TraceContextTextMapPropagator()


def current_origin() -> dict[str, str] | None:
    """Request id and trace parent of the code that runs now; None outside of a request."""
    origin: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        _FORMAT.inject(origin)
        origin.pop("tracestate", None)  # of unbounded length, and another system's
    request = structlog.contextvars.get_contextvars().get(REQUEST)
    if isinstance(request, str):
        origin[REQUEST] = request
    return origin or None
