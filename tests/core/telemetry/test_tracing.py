"""A job remembers what asked for it; a stage's span goes on in that trace; without an end point nothing is sent."""

from __future__ import annotations

import sys

import pytest
import structlog
from opentelemetry import trace

from core.errors import UsageError
from core.jobs.database import Database
from core.telemetry import current_origin, request_span, stage_span, start_tracing
from tests.core.jobs.job_steps import claim, job, submit
from tests.infra.tracing import spans_in_memory


def test_the_stage_of_a_job_continues_the_trace_of_its_request(database: Database) -> None:
    spans = spans_in_memory()
    with structlog.contextvars.bound_contextvars(request="req_1"), request_span({}, "POST"):
        job_id = submit(database)
    origin = job(database, job_id).origin
    assert origin is not None
    assert origin["request"] == "req_1"
    claimed = claim(database)
    spans.clear()
    with stage_span(claimed.stage, claimed.origin, {"job": claimed.job_id}):
        pass
    (span,) = spans.get_finished_spans()
    assert span.name == f"stage {claimed.stage}"
    assert span.parent is not None
    assert origin["traceparent"].split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}"]


def test_a_job_made_outside_of_a_request_has_no_origin(database: Database) -> None:
    assert current_origin() is None
    assert job(database, submit(database)).origin is None
    with stage_span("fuse", None, {}) as span:
        assert span.get_span_context() is not None


def test_without_an_end_point_nothing_changes() -> None:
    before = trace.get_tracer_provider()
    start_tracing("", "test")()
    assert trace.get_tracer_provider() is before


def test_an_end_point_without_the_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UsageError) as refused:
        start_tracing("http://127.0.0.1:4318", "test")
    assert refused.value.code == "tracing_not_installed"
