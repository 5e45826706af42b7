"""Bodies of the webhook endpoints and deliveries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.bodies import Body
from core.webhooks.record import EVENT_TYPES

EventType = Literal[
    "job.queued",
    "job.awaiting_upload",
    "job.awaiting_consent",
    "job.cancel_requested",
    "job.retried",
    "job.succeeded",
    "job.failed",
    "job.rejected",
    "job.cancelled",
    "job.expired",
    "stage.started",
    "stage.succeeded",
    "stage.requeued",
]
Url = Annotated[str, Field(min_length=1, max_length=2000, description="https, a public host.")]
Events = Annotated[list[EventType], Field(max_length=len(EVENT_TYPES), description="What to send; empty: everything.")]
Description = Annotated[str, Field(max_length=200)]


class EndpointCreate(Body):
    """Asks for messages to a URL."""

    url: Url
    events: Events = Field(default_factory=list)
    description: Description = ""


class EndpointChange(Body):
    """What is to be different; what is not named stays. Enabling an endpoint sends what waits for it."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = None


class EndpointOut(BaseModel):
    """An endpoint."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None = Field(description="Why we stopped sending: it failed for a day, or answered 410.")
    created_at: float


class EndpointWithSecret(EndpointOut):
    """An endpoint, and the secret that its messages are signed with. It is shown here only."""

    secret: str = Field(description="`whsec_...`, for the libraries of standardwebhooks.com.")


class AttemptOut(BaseModel):
    """One try to send a message."""

    at: float
    status: int | None = Field(description="Of the answer, if there was one.")
    error: str | None
    seconds: float
    answer: str = Field(description="Its first characters, as the receiver wrote them.")


class DeliveryOut(BaseModel):
    """One message to one endpoint."""

    id: str = Field(description="The `webhook-id`: the same however often it is sent.")
    endpoint: str
    type: str
    state: Literal["pending", "delivered", "failed"]
    payload: dict[str, Any]
    attempts: list[AttemptOut] = Field(description="The last thirty.")
    next_at: float | None = Field(description="When it is tried (again); null once it is not.")
    created_at: float
    delivered_at: float | None
