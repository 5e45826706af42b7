"""What endpoints are given: the platform's parts, and who calls, once their key allows it and their rate permits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.access import KeyRing
from api.jobs.hub import EventHub
from api.jobs.recent import RecentAnswers
from api.observe import note_tenant
from api.problems import ApiError
from core.accounts import audit
from core.accounts.keys import Scope
from core.accounts.rates import RateLimitedError, RateLimiter
from core.jobs.database import Database
from core.jobs.idempotency import Answer, once
from core.settings import Settings
from core.storage import ObjectStore


@dataclass(frozen=True)
class Platform:
    """The parts that every endpoint may need. One for each application."""

    settings: Settings
    database: Database
    store: ObjectStore
    secret_key: str

    @cached_property
    def keys(self) -> KeyRing:
        """The API keys that were seen lately."""
        return KeyRing(self.database, self.secret_key, self.settings.key_cache_seconds)

    @cached_property
    def answers(self) -> RecentAnswers:
        """What was said about jobs lately."""
        return RecentAnswers(self.database)

    @cached_property
    def events(self) -> EventHub:
        """Feeds all event streams of this process."""
        return EventHub(self.database, self.settings.event_poll_seconds)


@dataclass(frozen=True)
class Caller:
    """Whose key came with the request."""

    tenant: str
    key_id: str
    request_id: str

    def audit(self, session: Session, action: str, subject: str, **data: Any) -> None:
        """Add to the tenant's audit log, in the transaction of what was done. The last thing in it."""
        audit.record(
            session,
            self.tenant,
            actor=self.key_id,
            action=action,
            subject=subject,
            request_id=self.request_id,
            **data,
        )


def platform_of(request: Request) -> Platform:
    """The platform of this application."""
    found: Platform = request.app.state.platform
    return found


async def _platform(request: Request) -> Platform:
    return platform_of(request)


PlatformDep = Annotated[Platform, Depends(_platform)]
_bearer = HTTPBearer(auto_error=False, description="An API key of your tenant.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
READING = frozenset(("GET", "HEAD"))


def needs(scope: Scope | None) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, if their key has this scope. None: `read` or `write`, by the request's method."""

    async def caller_of(request: Request, credentials: _Credentials) -> Caller:
        return await _identify(request, credentials, scope)

    return caller_of


async def _identify(request: Request, credentials: HTTPAuthorizationCredentials | None, scope: Scope | None) -> Caller:
    """Runs on the event loop: a key that was seen lately costs no thread and no query."""
    platform = platform_of(request)
    key = credentials.credentials if credentials is not None else ""
    holder = platform.keys.known(key) or await to_thread.run_sync(platform.keys.look_up, key)
    if holder is None:
        raise ApiError("unauthorized", "The API key is missing or not valid.", "Send `Authorization: Bearer KEY`.")
    note_tenant(request, holder.tenant_id)
    wanted = scope or (Scope.READ if request.method in READING else Scope.WRITE)
    if wanted not in holder.scopes:
        raise ApiError("scope_missing", f"This key lacks the scope `{wanted}`.", "Use a key that has it.")
    await _limit(request, platform, holder.tenant_id)
    return Caller(holder.tenant_id, holder.key_id, request.state.request_id)


async def _limit(request: Request, platform: Platform, tenant: str) -> None:
    limiter: RateLimiter = request.app.state.limiter
    reads = request.method in READING
    settings = platform.settings
    rate = settings.rate_reads_per_minute if reads else settings.rate_writes_per_minute
    bucket = f"{tenant}:{'reads' if reads else 'writes'}"
    wait = limiter.try_take(bucket, rate)
    if wait is None:
        wait = await to_thread.run_sync(limiter.take, bucket, rate)
    if wait:
        raise RateLimitedError(wait)


async def _tenant(request: Request, credentials: _Credentials) -> str:
    return (await _identify(request, credentials, None)).tenant


CallerDep = Annotated[Caller, Depends(needs(None))]
TenantDep = Annotated[str, Depends(_tenant)]
ConsentsCaller = Annotated[Caller, Depends(needs(Scope.CONSENTS))]
ReviewCaller = Annotated[Caller, Depends(needs(Scope.REVIEW))]
WebhooksCaller = Annotated[Caller, Depends(needs(Scope.WEBHOOKS))]
AdminCaller = Annotated[Caller, Depends(needs(Scope.ADMIN))]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
Identifier = Annotated[str, Path(min_length=1, max_length=48, pattern=r"^[a-z]+_[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=100, description="At most so many items.")]
Cursor = Annotated[
    str | None, Query(max_length=100, pattern=r"^[A-Za-z0-9_=-]*$", description="`next_cursor` of the page before.")
]
Tag = Annotated[str, Query(max_length=264, pattern=r"^[A-Za-z0-9_.-]{1,64}:[^\x00]{1,200}$")]
Tags = Annotated[list[Tag] | None, Query(max_length=5, description="`KEY:VALUE`: only those with this mark.")]


def create_once(
    platform: Platform,
    tenant: str,
    route: str,
    key: str | None,
    body: BaseModel | dict[str, Any],
    create: Callable[[Session], Answer],
    shown: Callable[[dict[str, Any]], dict[str, Any]] = lambda kept: kept,
) -> JSONResponse:
    """Run a creating POST in one transaction, exactly once for each Idempotency-Key.

    `shown` makes the answer of what is kept for repetitions, where not all of it may be kept.
    """
    described = body if isinstance(body, dict) else body.model_dump(mode="json")
    with platform.database.write() as session:
        answer = once(session, tenant, route, key, described, lambda: create(session))
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    return JSONResponse(shown(answer.body), answer.status, headers)
