"""The FastAPI application: records what callers ask for, and answers from the database. It computes nothing.

It must run without torch, and without any other package that the science needs.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from api.deps import Platform
from api.health.endpoints import router as health
from api.health.metrics import Metrics
from api.identities.endpoints import router as identities
from api.jobs.endpoints import router as jobs
from api.observe import Observe
from api.objects.endpoints import router as objects
from api.problems import Problem, install
from api.renders.endpoints import router as renders
from api.umfs.endpoints import router as umfs
from api.uploads.endpoints import router as uploads

_PROBLEM = {"model": Problem, "content": {"application/problem+json": {}}}


def create_app(platform: Platform) -> FastAPI:
    """An application over `platform`, whose database is migrated."""
    app = FastAPI(
        title="Likeness",
        version="1",
        summary="Personal 3D talking heads from a few seconds of video.",
        telemetry={"tracing": False},  # `Observe` does it, and leaves the probes out
        responses={"4XX": {**_PROBLEM, "description": "A problem body."}},
    )
    app.state.platform = platform
    app.state.metrics = Metrics(platform.database)
    install(app)
    app.add_middleware(Observe, metrics=app.state.metrics)
    versioned = APIRouter(prefix="/v1")
    for router in (uploads, objects, identities, renders, jobs, umfs, health):
        versioned.include_router(router)
    app.include_router(versioned)
    app.include_router(health, include_in_schema=False)  # where probes look
    return app
