"""`/healthz` (the process lives), `/readyz` (it can do its work), `/metrics` (Prometheus). No key is needed."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import select

from api.deps import PlatformDep
from core.jobs.tables import Tenant

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/healthz")
def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz")
def readyz(platform: PlatformDep) -> Health:
    """The database answers; if not, the answer is 503 `database_unavailable`."""
    with platform.database.read() as session:
        session.scalar(select(Tenant.id).limit(1))
    return Health()


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Requests, jobs and stages, for Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
