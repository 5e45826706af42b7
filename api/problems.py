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
    "object_missing": 410,
}
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
        headers["Retry-After"] = "5"
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
    codes = {404: "not_found", 405: "method_not_allowed"}
    known = ApiError(codes.get(status, f"http_{status}"), str(getattr(error, "detail", "")), "See /docs for the paths.")
    return problem(request, status, known)


async def _database_away(request: Request, error: Exception) -> JSONResponse:
    _log.error("database away", error=str(error))
    away = ApiError("database_unavailable", "The database can't be reached.", "Try again in a few seconds.")
    away.retryable = True
    return problem(request, 503, away)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("request failed", exc_info=error)
    ours = ApiError("internal_error", "Something went wrong on our side.", "Report it with the request id.")
    return problem(request, 500, ours)
