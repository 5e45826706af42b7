"""Errors as RFC 9457 problem bodies: `code`, `retryable` and `hint` are stable, the status follows from the code."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from core.errors import LikenessError

_STATUS = {
    "not_found": 404,
    "unauthorized": 401,
    "idempotency_key_reused": 422,
    "job_finished": 409,
    "job_not_retryable": 409,
    "identity_not_ready": 409,
    "not_ready": 409,
    "upload_incomplete": 409,
    "upload_expired": 410,
    "link_refused": 403,
    "storage_unavailable": 503,
    "storage_refused": 500,
    "upload_size_mismatch": 422,
    "upload_hash_mismatch": 422,
    "upload_too_large": 413,
    "umf_unknown": 422,
    "batch_too_large": 422,
    "bad_cursor": 422,
    "too_many_streams": 429,
    "too_many_jobs": 429,
    "rate_limited": 429,
    "quota_bytes": 402,
    "quota_seconds": 402,
    "scope_missing": 403,
    "consent_required": 422,
    "consent_not_valid": 409,
    "consent_decided": 409,
    "challenge_expired": 409,
    "evidence_missing": 409,
    "webhook_url_refused": 422,
    "too_many_endpoints": 409,
    "batch_refused": 422,
    "umf_name_taken": 409,
    "umf_not_ready": 409,
    "key_is_yours": 409,
    "upload_removed": 410,
    "object_missing": 410,
}
RETRY_AFTER_SECONDS = 5
_log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """An RFC 9457 problem body."""

    type: str = Field(examples=["urn:likeness:error:not_found"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable over releases; listed in docs/errors.md.")
    retryable: bool = Field(description="Whether the same call may succeed later without a change.")
    hint: str
    request_id: str
    errors: list[dict[str, Any]] = Field(default_factory=list, description="What is wrong with which field.")


_TITLES = {
    400: "The request can't be read.",
    401: "The API key is missing or not valid.",
    402: "A quota is used up.",
    403: "The key lacks the scope for this.",
    404: "There is no such thing, or it is another tenant's.",
    409: "Not in the state that it is in.",
    410: "It was there once.",
    413: "Too large.",
    422: "The request is malformed, or asks for what can't be.",
    429: "Too many requests, jobs or streams: `Retry-After` says when to go on.",
    503: "The database or the object store is away: `Retry-After` says when to try again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route documents the problem bodies that it may answer."""
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _TITLES[status], "content": schema} for status in statuses}


KEYED = problems(400, 401, 403, 422, 429, 503)
"""What every route with an API key may answer."""
FOUND = {**KEYED, **problems(404)}
"""What every route with an id may answer, too."""


class ApiError(LikenessError):
    """A failure that only exists over HTTP."""


class NotFoundError(ApiError):
    """There is no such thing, or it belongs to another tenant: the answer is the same."""

    def __init__(self, what: str) -> None:
        super().__init__("not_found", f"There is no such {what}.", "Check the id; a key sees its own tenant only.")


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem body."""
    app.add_exception_handler(LikenessError, _likeness)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database_away)
    app.add_exception_handler(Exception, _unexpected)


def problem(request: Request, status: int, error: LikenessError, **more: Any) -> JSONResponse:
    """The response for an error."""
    request_id = getattr(request.state, "request_id", "")
    body = Problem(
        type=f"urn:likeness:error:{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        hint=error.hint,
        request_id=request_id,
        **more,
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in (429, 503):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_SECONDS))
    if status >= 500:
        headers["X-Request-Id"] = request_id
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


async def _likeness(request: Request, error: Exception) -> JSONResponse:
    known = error if isinstance(error, LikenessError) else LikenessError("internal_error", "Something went wrong.")
    return problem(request, _STATUS.get(known.code, 400), known)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    details = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [{"where": [str(part) for part in item["loc"]], "what": item["msg"]} for item in details]
    refused = ApiError("invalid_request", "The request is malformed.", "See `errors`, and /docs for the schema.")
    return problem(request, 422, refused, errors=fields)


async def _http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    codes = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
    known = ApiError(codes.get(status, f"http_{status}"), str(getattr(error, "detail", "")), "See /docs for the paths.")
    answer = problem(request, status, known)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


async def _database_away(request: Request, error: Exception) -> JSONResponse:
    _log.error("database away", error=str(error))
    away = ApiError("database_unavailable", "The database can't be reached.", "Try again in a few seconds.")
    away.retryable = True
    return problem(request, 503, away)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("request failed", exc_info=error)
    ours = ApiError("internal_error", "Something went wrong on our side.", "Report it with the request id.")
    return problem(request, 500, ours)
