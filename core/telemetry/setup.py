"""Sends the spans of this process to an OpenTelemetry collector; without an end point, spans cost nothing.

The API (`opentelemetry-api`) comes with the product, and does nothing by itself. The SDK and the exporter are the
extra `tracing`.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace

from core.errors import UsageError

FLUSH_MILLISECONDS = 2000


def start_tracing(endpoint: str, service: str) -> Callable[[], None]:
    """Export spans from now on. Call it once a process, and after a fork: the exporter's thread does not survive one.

    Args:
        endpoint: base URL of a collector that takes OTLP over HTTP, such as `http://collector:4318`; empty: no traces.
        service: this process's `service.name`.

    Returns:
        What sends the spans that are still held back, for two seconds at most; call it before the process ends.

    Raises:
        UsageError: `tracing_not_installed`, the extra `tracing` is missing.
    """
    if not endpoint:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        hint = "Install likeness-heads[tracing], or unset LIKENESS_OTLP_ENDPOINT."
        raise UsageError("tracing_not_installed", "The packages that send traces are missing.", hint) from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)

    def flush() -> None:
        provider.force_flush(FLUSH_MILLISECONDS)

    return flush
