"""Bodies of the uploads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.bodies import Body


class UploadCreate(Body):
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
    """Where to send the bytes, with exactly these headers and a Content-Length, and without an API key.

    A path is relative to the API's address. The target is valid for an hour; reading the upload gives a fresh one.
    """

    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str]


class PartTarget(PutTarget):
    """Where to send the bytes `offset ... offset + size - 1` of the file."""

    number: int = Field(description="1, 2, ...")
    offset: int
    size: int = Field(description="Bytes.")
    stored: bool = Field(description="Whether this part is here already; sent again, it replaces what is here.")


class UploadOut(BaseModel):
    """An upload."""

    id: str
    state: Literal["awaiting", "complete", "expired"]
    filename: str
    content_type: str
    size: int
    sha256: str
    put: PutTarget | None = Field(description="Where to send the whole file; null for one in parts, and at the end.")
    parts: list[PartTarget] = Field(description="Where to send a large file, part by part, in any order.")
    created_at: float
    completed_at: float | None
