"""Bodies of the identities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.jobs.schemas import JobOut


class IdentityCreate(BaseModel):
    """Asks for an avatar of the person in an uploaded video."""

    upload: Annotated[str, Field(max_length=48, description="The video. The job waits until it is complete.")]
    name: Annotated[str, Field(min_length=1, max_length=200)] = "identity"
    consent_attested: Literal[True] = Field(
        description="You attest that the person in the video agreed to this avatar. Nothing is made without it."
    )
    profile: Literal["draft", "standard", "paper"] = "standard"
    umf: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="A name from /umfs.")] = "base"
    start_s: Annotated[float, Field(ge=0, le=36000, description="Seconds into the longest shot.")] = 0.0
    seconds: Annotated[float, Field(ge=3, le=60, description="How much of the shot to learn from.")] = 5.0
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
    job: str
    bundle: FileOut | None = Field(description="The avatar bundle, once the identity is ready.")
    created_at: float


class IdentityCreated(BaseModel):
    """A new identity and the job that makes it."""

    identity: IdentityOut
    job: JobOut
