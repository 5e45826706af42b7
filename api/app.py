"""The FastAPI application: records what callers ask for, and answers from the database. It computes nothing.

It must run without torch, and without any other package that the science needs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable

import structlog
from fastapi import APIRouter, FastAPI, Request, Response

from api.deps import Platform
from api.health.endpoints import router as health
from api.health.metrics import Metrics
from api.identities.endpoints import router as identities
from api.jobs.endpoints import router as jobs
from api.objects.endpoints import router as objects
from api.problems import Problem, install
from api.renders.endpoints import router as renders
from api.umfs.endpoints import router as umfs
from api.uploads.endpoints import router as uploads
from core.jobs.identifiers import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_PROBLEM = {"model": Problem, "content": {"application/problem+json": {}}}


def create_app(platform: Platform) -> FastAPI:
    """An application over `platform`, whose database is migrated."""
    app = FastAPI(
        title="Likeness",
        version="1",
        summary="Personal 3D talking heads from a few seconds of video.",
        responses={"4XX": {**_PROBLEM, "description": "A problem body."}},
    )
    app.state.platform = platform
    app.state.metrics = Metrics(platform.database)
    install(app)
    app.middleware("http")(_observe)
    versioned = APIRouter(prefix="/v1")
    for router in (uploads, objects, identities, renders, jobs, umfs, health):
        versioned.include_router(router)
    app.include_router(versioned)
    app.include_router(health, include_in_schema=False)  # where probes look
    return app


async def _observe(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give the request an id, which its answer and its log lines carry, and count it."""
    given = request.headers.get("X-Request-Id", "")
    request.state.request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
    started = time.monotonic()
    with structlog.contextvars.bound_contextvars(request=request.state.request_id):
        response = await call_next(request)
    response.headers["X-Request-Id"] = request.state.request_id
    metrics: Metrics = request.app.state.metrics
    route = getattr(request.scope.get("route"), "path", "unknown")
    metrics.requests.labels(request.method, route, response.status_code).inc()
    metrics.seconds.labels(request.method, route).observe(time.monotonic() - started)
    return response
