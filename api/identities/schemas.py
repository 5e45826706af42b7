"""Bodies of the identities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.bodies import Body, TagMap
from api.jobs.schemas import JobOut


class IdentityCreate(Body):
    """Asks for an avatar of the person in an uploaded video."""

    upload: Annotated[str, Field(max_length=48, description="The video. The job waits until it is complete.")]
    consent: Annotated[
        str | None,
        Field(
            max_length=48, description="The person's consent; nothing is made without one. A pending one is waited for."
        ),
    ] = None
    name: Annotated[str, Field(min_length=1, max_length=200)] = "identity"
    profile: Literal["draft", "standard", "paper"] = "standard"
    umf: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="A name from /umfs.")] = "base"
    start_s: Annotated[float, Field(ge=0, le=36000, description="Seconds into the longest shot.")] = 0.0
    seconds: Annotated[float, Field(ge=3, le=60, description="How much of the shot to learn from.")] = 5.0
    metadata: TagMap = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    deadline_s: Annotated[float | None, Field(gt=0, le=604800, description="The job expires after so long.")] = None


class FileOut(BaseModel):
    """A file to download, with the API key."""

    url: str
    size: int
    sha256: str


class IdentityOut(BaseModel):
    """An identity."""

    id: str
    name: str
    state: Literal["waiting", "adapting", "ready", "failed", "rejected", "cancelled", "expired"]
    profile: str
    umf: str
    upload: str
    consent: str
    job: str
    bundle: FileOut | None = Field(description="The avatar bundle, once the identity is ready.")
    metadata: dict[str, str]
    created_at: float


class IdentityCreated(BaseModel):
    """A new identity and the job that makes it."""

    identity: IdentityOut
    job: JobOut
