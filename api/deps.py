"""What endpoints are given: the platform's parts, and the tenant of the caller's key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.problems import ApiError
from core.jobs.access import tenant_of_key
from core.jobs.database import Database
from core.jobs.idempotency import Answer, once
from core.settings import Settings
from core.storage import ObjectStore


@dataclass
class Streams:
    """How many event streams are open, so that they can be limited."""

    count: int = 0


@dataclass(frozen=True)
class Platform:
    """The parts that every endpoint may need. One for each application."""

    settings: Settings
    database: Database
    store: ObjectStore
    secret_key: str
    streams: Streams = field(default_factory=Streams)


def platform_of(request: Request) -> Platform:
    """The platform of this application."""
    found: Platform = request.app.state.platform
    return found


PlatformDep = Annotated[Platform, Depends(platform_of)]
_bearer = HTTPBearer(auto_error=False, description="An API key of your tenant.")


def tenant_of(
    platform: PlatformDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """The tenant whose key came with the request.

    Raises:
        ApiError: `unauthorized`.
    """
    if credentials is not None:
        with platform.database.read() as session:
            tenant = tenant_of_key(session, credentials.credentials, platform.secret_key)
        if tenant is not None:
            return tenant
    raise ApiError("unauthorized", "The API key is missing or not valid.", "Send `Authorization: Bearer KEY`.")


TenantDep = Annotated[str, Depends(tenant_of)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
Identifier = Annotated[str, Path(min_length=1, max_length=48, pattern=r"^[a-z]+_[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=100, description="At most so many items.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]


def create_once(
    platform: Platform,
    tenant: str,
    route: str,
    key: str | None,
    body: BaseModel | dict[str, Any],
    create: Callable[[Session], Answer],
) -> JSONResponse:
    """Run a creating POST in one transaction, exactly once for each Idempotency-Key."""
    described = body if isinstance(body, dict) else body.model_dump(mode="json")
    with platform.database.write() as session:
        answer = once(session, tenant, route, key, described, lambda: create(session))
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    return JSONResponse(answer.body, answer.status, headers)
