"""Around every request: an id, a span that continues the caller's trace, a count, and a log line with its tenant."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from api.health.metrics import Metrics
from api.observe import Observe, note_tenant
from core.jobs.database import Database
from core.telemetry import current_origin
from tests.infra.tracing import spans_in_memory

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    return spans_in_memory()


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite3'}")
    database.migrate()
    yield Metrics(database)
    database.close()


@pytest.fixture
def client(metrics: Metrics) -> Iterator[TestClient]:
    app = FastAPI(telemetry={"tracing": False})
    app.add_middleware(Observe, metrics=metrics)

    @app.get("/things/{thing}")
    def thing(thing: str, request: Request) -> dict[str, object]:
        note_tenant(request, "ten_1")
        return {"origin": current_origin(), "id": request.state.request_id}

    nested = APIRouter(prefix="/v1")
    nested.get("/jobs/{job}")(lambda job: job)
    app.include_router(nested)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("on our side")

    @app.get("/healthz")
    def healthz() -> None:
        return None

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one ", b"two"):
                yield part

        return StreamingResponse(parts())

    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def only(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in spans.get_finished_spans() if span.name == name]
    return span


def test_the_callers_id_is_taken_over_and_a_malformed_one_is_not(client: TestClient) -> None:
    taken = client.get("/things/a", headers={"X-Request-Id": "caller-1"})
    assert taken.headers["x-request-id"] == taken.json()["id"] == "caller-1"
    made = client.get("/things/a", headers={"X-Request-Id": "a b\tc"})
    assert made.headers["x-request-id"].startswith("req_")


def test_a_job_made_in_a_request_remembers_its_id_and_its_trace(
    client: TestClient, spans: InMemorySpanExporter
) -> None:
    spans.clear()
    told = {"X-Request-Id": "caller-2", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    origin = client.get("/things/a", headers=told).json()["origin"]
    span = only(spans, "GET /things/{thing}")
    assert origin["request"] == "caller-2"
    assert origin["traceparent"].split("-")[1:3] == [TRACE, f"{span.context.span_id:016x}"]
    assert span.attributes is not None
    assert span.attributes["likeness.tenant"] == "ten_1"
    assert span.attributes["http.response.status_code"] == 200


def test_a_request_leaves_one_log_line_without_the_ids_in_its_path(client: TestClient) -> None:
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        client.get("/things/secret-of-a-tenant", headers={"X-Request-Id": "caller-3"})
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["request"], line["tenant"], line["status"]) == ("caller-3", "ten_1", 200)
    assert "secret-of-a-tenant" not in json.dumps(line)


def test_probes_are_counted_but_neither_logged_nor_traced(client: TestClient, spans: InMemorySpanExporter) -> None:
    spans.clear()
    with capture_logs() as lines:
        assert client.get("/healthz").status_code == 200
    assert not spans.get_finished_spans()
    assert lines == []


def test_requests_are_counted_by_route_and_status(client: TestClient, metrics: Metrics) -> None:
    for path in ("/things/a", "/things/b", "/broken", "/nowhere", "/stream", "/v1/jobs/a"):
        client.get(path)
    client.request("BREW", "/things/a")
    counted = generate_latest(metrics.registry).decode()
    assert 'likeness_http_requests_total{method="GET",route="/things/{thing}",status="200"} 2.0' in counted
    assert 'likeness_http_requests_total{method="GET",route="/broken",status="500"} 1.0' in counted
    assert 'likeness_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in counted
    assert 'likeness_http_requests_total{method="GET",route="/v1/jobs/{job}",status="200"} 1.0' in counted
    assert 'likeness_http_requests_total{method="other",' in counted
    assert 'likeness_http_request_seconds_count{method="GET",route="/stream"} 1.0' in counted


def test_a_failure_on_our_side_marks_its_span(client: TestClient, spans: InMemorySpanExporter) -> None:
    spans.clear()
    client.get("/broken")
    span = only(spans, "GET /broken")
    assert not span.status.is_ok
