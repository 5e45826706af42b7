"""What can go wrong for a caller of the API, as types. The codes are those of docs/errors.md."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Any failure of a call."""


class ServerUnreachableError(ClientError):
    """No answer, after some tries."""


class ApiProblemError(ClientError):
    """The API answered with a problem body.

    Attributes:
        status: the HTTP status.
        code: stable, snake_case.
        detail: what happened.
        hint: what to do about it.
        retryable: whether the same call may succeed later.
        request_id: to be named in a bug report.
        retry_after_s: seconds after which the server wants to be asked again; None where it said nothing.
    """

    retry_after_s: float | None = None

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("code", f"http_{status}"))
        self.detail = str(body.get("detail", ""))
        self.hint = str(body.get("hint", ""))
        self.retryable = bool(body.get("retryable", False))
        self.request_id = str(body.get("request_id", ""))
        super().__init__(f"{self.code}: {self.detail}")


class NotFoundError(ApiProblemError):
    """404: there is no such thing, or it belongs to another tenant."""


class UnauthorizedError(ApiProblemError):
    """401: the API key is missing or not valid."""


class QuotaError(ApiProblemError):
    """402: a quota is used up."""


class ForbiddenError(ApiProblemError):
    """403: the key lacks the scope for this."""


class ConflictError(ApiProblemError):
    """409: not in this state."""


class InvalidRequestError(ApiProblemError):
    """413 or 422: the request can't be accepted as it is."""


class JobFailedError(ClientError):
    """The job ended without a result.

    Attributes:
        job_id: the job.
        state: `failed`, `cancelled` or `expired`.
        code: the job's error code, or its state where it has none.
        message: what happened.
        hint: what to do about it.
    """

    def __init__(self, job_id: str, state: str, code: str, message: str, hint: str) -> None:
        self.job_id = job_id
        self.state = state
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(f"{code}: {message}")


class InputRejectedError(JobFailedError):
    """The job was rejected: the media can't be used. `code` and `hint` say why and what to do."""


class WaitTimeoutError(ClientError):
    """The job had not ended when the time was up; it goes on."""


def problem_error(status: int, body: dict[str, Any]) -> ApiProblemError:
    """The error type for a problem body."""
    kinds: dict[int, type[ApiProblemError]] = {
        401: UnauthorizedError,
        402: QuotaError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        413: InvalidRequestError,
        422: InvalidRequestError,
    }
    return kinds.get(status, ApiProblemError)(status, body)
