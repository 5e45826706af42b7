"""Traces from a request to the stages that it caused, and the ids that tie log lines together."""

from core.telemetry.origin import REQUEST, TRACE_PARENT, current_origin
from core.telemetry.setup import start_tracing
from core.telemetry.spans import mark_failed, request_span, stage_span

__all__ = [
    "REQUEST",
    "TRACE_PARENT",
    "current_origin",
    "mark_failed",
    "request_span",
    "stage_span",
    "start_tracing",
]
