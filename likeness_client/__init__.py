"""A small typed client of the Likeness API, free of torch: `from likeness_client import Client`."""

from likeness_client.client import Client
from likeness_client.errors import (
    ApiProblemError,
    ClientError,
    ConflictError,
    InputRejectedError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    ServerUnreachableError,
    UnauthorizedError,
    WaitTimeoutError,
)
from likeness_client.models import Event, File, Identity, Job, JobError, Render, RenderBatch

__all__ = [
    "ApiProblemError",
    "Client",
    "ClientError",
    "ConflictError",
    "Event",
    "File",
    "Identity",
    "InputRejectedError",
    "InvalidRequestError",
    "Job",
    "JobError",
    "JobFailedError",
    "NotFoundError",
    "Render",
    "RenderBatch",
    "ServerUnreachableError",
    "UnauthorizedError",
    "WaitTimeoutError",
]
