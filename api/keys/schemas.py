"""Bodies of the API keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from api.bodies import Body
from core.accounts.keys import USUAL_SCOPES, Scope

_TEN_YEARS = 10 * 365 * 86400


class KeyCreate(Body):
    """Asks for another key of the tenant."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="For people.")]
    scopes: list[Scope] = Field(default=list(USUAL_SCOPES), min_length=1, max_length=6)
    expires_in_s: Annotated[float | None, Field(gt=0, le=_TEN_YEARS, description="It ends after so long.")] = None


class KeyOut(BaseModel):
    """A key, without the key itself."""

    id: str
    name: str
    start: str = Field(description="Its first characters.")
    scopes: list[Scope]
    created_at: float
    expires_at: float | None
    last_used_at: float | None = Field(description="To the minute.")
    revoked_at: float | None


class KeyCreated(KeyOut):
    """A new key. This answer is the only one that shows it."""

    key: str
