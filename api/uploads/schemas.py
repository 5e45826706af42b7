"""Bodies of the uploads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class UploadCreate(BaseModel):
    """Announces a file: its exact size and hash are checked when it comes."""

    filename: Annotated[str, Field(min_length=1, max_length=255)]
    content_type: Literal[
        "application/octet-stream",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/x-wav",
        "video/mp4",
        "video/quicktime",
        "video/webm",
        "video/x-matroska",
    ] = "application/octet-stream"
    size: Annotated[int, Field(ge=0, description="Bytes.")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Hexadecimal.")]


class PutTarget(BaseModel):
    """Where to send the bytes. A path is relative to the API's address and wants the API key; a URL wants neither."""

    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str]


class UploadOut(BaseModel):
    """An upload."""

    id: str
    state: Literal["awaiting", "stored", "complete"]
    filename: str
    content_type: str
    size: int
    sha256: str
    put: PutTarget | None = Field(description="Where to send the bytes; null once they are here.")
    created_at: float
    completed_at: float | None
