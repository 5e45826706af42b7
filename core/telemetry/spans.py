"""The two kinds of span that we make: a request that we answer, and a stage that a worker runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_FORMAT = TraceContextTextMapPropagator()


@contextmanager
def request_span(headers: Mapping[str, str], method: str) -> Iterator[Span]:
    """A span around the answer to a request; it continues the caller's trace, where the headers name one.

    Its final name, with the route, is only known after routing: the caller of this function updates it.
    """
    parent = _FORMAT.extract(headers)
    with _tracer().start_as_current_span(method, parent, SpanKind.SERVER) as span:
        yield span


@contextmanager
def stage_span(stage: str, origin: Mapping[str, str] | None, attributes: Mapping[str, str | int]) -> Iterator[Span]:
    """A span around one attempt at a stage, in the trace of the request that asked for the job.

    Args:
        stage: the stage's name.
        origin: the job's `core.telemetry.current_origin()`, as its row kept it.
        attributes: job, tenant, attempt and the like; names get the prefix `likeness.`.
    """
    parent = _FORMAT.extract(origin or {})
    named = {f"likeness.{name}": value for name, value in attributes.items()}
    with _tracer().start_as_current_span(f"stage {stage}", parent, SpanKind.CONSUMER, named) as span:
        yield span


def mark_failed(span: Span, why: str) -> None:
    """Mark the span as one that ended badly."""
    span.set_status(Status(StatusCode.ERROR, why))


def _tracer() -> trace.Tracer:
    return trace.get_tracer("likeness")
