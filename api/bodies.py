"""What all request bodies have in common: nothing unknown, nothing that a database can't keep."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

TagKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
TagValue = Annotated[str, StringConstraints(min_length=1, max_length=200)]
TagMap = Annotated[
    dict[TagKey, TagValue], Field(max_length=16, description="Your own marks; lists can be filtered by them.")
]


class Body(BaseModel):
    """A request body. A field that we don't know is a mistake of the caller, not something to pass over."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, values: Any) -> Any:
        if _has_nul(values):
            raise ValueError("strings may not hold the character U+0000")
        return values


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_has_nul(part) for part in value)
    return False
