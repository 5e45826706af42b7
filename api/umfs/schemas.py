"""Bodies of the universal motion fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.bodies import Body
from api.jobs.schemas import JobOut


class UmfCreate(Body):
    """Asks for a motion field of the tenant's own, trained on clips of many people."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="What identities will ask for it by.")]
    uploads: Annotated[
        list[Annotated[str, Field(max_length=48)]],
        Field(min_length=1, max_length=500, description="Complete uploads; `ID.mp4`, `IDb.mp4` are one person."),
    ]
    consent_attested: Literal[True] = Field(
        description="You attest that the people in the clips agreed to being learned from. Nothing is made without it."
    )
    iterations: Annotated[int, Field(ge=10, le=100_000)] = 1500
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    deadline_s: Annotated[float | None, Field(gt=0, le=604800, description="The job expires after so long.")] = None


class UmfOut(BaseModel):
    """A universal motion field."""

    name: str
    source: Literal["none", "shipped", "operator", "tenant"]
    size: int = Field(description="Bytes; 0 for `none`, which trains from scratch, and for one in the making.")
    id: str | None = Field(description="Of a field of your own.")
    state: str = Field(description="`ready`, or the state of the job that makes it.")
    job: str | None
    card: dict[str, Any] | None = Field(description="What the field says of itself.")


class UmfList(BaseModel):
    """All of them: there are few."""

    items: list[UmfOut]


class UmfCreated(BaseModel):
    """A new field and the job that makes it."""

    umf: UmfOut
    job: JobOut
