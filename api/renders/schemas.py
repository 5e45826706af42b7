"""Bodies of the renders and render batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.bodies import Body, TagMap
from api.identities.schemas import FileOut
from api.jobs.schemas import JobOut
from core.jobs.states import JobState


class RenderCreate(Body):
    """Asks for a video of an identity that speaks an uploaded audio."""

    identity: Annotated[str, Field(max_length=48)]
    upload: Annotated[str, Field(max_length=48, description="The speech. The job waits until it is complete.")]
    size: Annotated[
        int | None, Field(ge=64, le=2048, multiple_of=2, description="Pixels a side; null: the avatar's.")
    ] = None
    background: Annotated[
        str | None, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="A colour; null: the recorded background.")
    ] = None
    label: bool = Field(default=True, description="Burn the AI-generated label into the picture.")
    metadata: TagMap = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    deadline_s: Annotated[float | None, Field(gt=0, le=604800)] = None


class RenderBatchCreate(Body):
    """Asks for many renders at once. An item that can't be accepted does not stop the others."""

    items: Annotated[list[RenderCreate], Field(min_length=1, max_length=1000)]


class RenderOut(BaseModel):
    """A render."""

    id: str
    identity: str
    upload: str
    batch: str | None
    state: JobState
    job: str
    output: FileOut | None = Field(description="The video, once the job has succeeded.")
    result: dict[str, Any] | None = Field(description="What the renderer measured: frames, seconds, frames a second.")
    metadata: dict[str, str]
    created_at: float


class RenderCreated(BaseModel):
    """A new render and its job."""

    render: RenderOut
    job: JobOut


class RefusalOut(BaseModel):
    """Why an item was not accepted: the same as for a single render."""

    code: str
    message: str
    hint: str
    retryable: bool


class BatchItemOut(BaseModel):
    """What became of one item: a render, or why there is none."""

    render: RenderOut | None
    error: RefusalOut | None


class RenderBatchOut(BaseModel):
    """A batch of renders."""

    id: str
    state: Literal["running", "succeeded", "failed"] = Field(
        description="`failed`: all ended, and not all succeeded; a refused item counts as failed."
    )
    items: list[BatchItemOut] = Field(description="In the order in which they were asked for.")
    archive: str = Field(description="Where to get all videos as one zip, once the batch is not running.")
    created_at: float
