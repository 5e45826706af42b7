"""The FastAPI application: records what callers ask for, and answers from the database. It computes nothing.

It must run without torch, and without any other package that the science needs.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import Counter

from api.audit.endpoints import router as audit
from api.consents.endpoints import router as consents
from api.deps import Platform
from api.health.endpoints import router as health
from api.health.metrics import Metrics
from api.identities.endpoints import router as identities
from api.jobs.endpoints import router as jobs
from api.keys.endpoints import router as keys
from api.objects.endpoints import router as objects
from api.observe import VERSION, Observe
from api.problems import Problem, install
from api.renders.endpoints import router as renders
from api.umfs.endpoints import router as umfs
from api.uploads.endpoints import router as uploads
from api.usage.endpoints import router as usage
from api.webhooks.endpoints import router as webhooks
from core.accounts.rates import LocalLimiter, RateLimiter, RedisLimiter, is_redis


def create_app(platform: Platform) -> FastAPI:
    """An application over `platform`, whose database is migrated."""
    app = FastAPI(
        title="Likeness",
        version="1",
        summary="Personal 3D talking heads from a few seconds of video.",
        telemetry={"tracing": False},  # `Observe` does it, and leaves the probes out
    )
    app.state.platform = platform
    app.state.metrics = Metrics(platform.database)
    app.state.limiter = _limiter(platform, app.state.metrics)
    install(app)
    app.add_middleware(Observe, metrics=app.state.metrics)
    versioned = APIRouter(prefix=VERSION)
    # Routes are tried in this order: those that are called most come first.
    for router in (jobs, uploads, objects, identities, renders, consents, umfs, webhooks, usage, keys, audit, health):
        versioned.include_router(router)
    app.include_router(versioned)
    app.include_router(health, include_in_schema=False)  # where probes look
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _limiter(platform: Platform, metrics: Metrics) -> RateLimiter:
    """Shared by all API processes where the broker is a Redis."""
    if not is_redis(platform.settings.broker_url):
        return LocalLimiter()
    unchecked = Counter(
        "likeness_rate_limit_unchecked", "Calls let through because Redis was away.", registry=metrics.registry
    )
    return RedisLimiter(platform.settings.broker_url, unchecked.inc)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the problem body that the routes refer to."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = made["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema
