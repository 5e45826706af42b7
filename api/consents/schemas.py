"""Bodies of the consents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.bodies import Body
from core.consents.tables import ConsentState

_TEN_YEARS = 10 * 365 * 86400


class ConsentCreate(Body):
    """Records that a person agrees, or is to be asked to."""

    subject: Annotated[str, Field(min_length=1, max_length=200, description="Who agrees.")]
    statement: Annotated[
        str, Field(min_length=1, max_length=4000, description="What they agree to, in the words they were shown.")
    ] = "I agree that an avatar of my face and voice is made from a video of me."
    purpose: Annotated[str, Field(min_length=1, max_length=500, description="What the avatar is for.")]
    attested: bool = Field(
        default=False,
        description="You attest that the person agreed, or that it is you. Where the operator takes an attestation "
        "(the embedded form does), the consent is verified at once; elsewhere evidence is needed, too.",
    )
    expires_in_s: Annotated[float | None, Field(gt=0, le=_TEN_YEARS, description="The consent ends after so long.")] = (
        None
    )


class ConsentEvidence(Body):
    """The recording in which the person says the statement and the phrase."""

    upload: Annotated[str, Field(max_length=48, description="A complete upload.")]


class ConsentDecision(Body):
    """What someone who looked at the evidence found."""

    verdict: Literal["verified", "rejected"]
    reason: Annotated[str, Field(max_length=500)] = ""


class ConsentRevoke(Body):
    """Takes a consent back."""

    reason: Annotated[str, Field(max_length=500)] = ""


class Challenge(BaseModel):
    """What the person is to say, beside the statement."""

    phrase: str
    valid_until: float = Field(description="The evidence must be here by then.")


class EvidenceOut(BaseModel):
    """The evidence that was given."""

    upload: str
    sha256: str
    at: float


class Tombstone(BaseModel):
    """What was made under the consent, or is left of it."""

    identity: str
    deleted_at: float | None
    deleted_because: str | None


class ConsentOut(BaseModel):
    """A consent. Times are seconds since 1970, UTC."""

    id: str
    subject: str
    statement: str
    purpose: str
    attested: bool
    state: ConsentState
    challenge: Challenge | None = Field(description="While evidence is awaited.")
    evidence: EvidenceOut | None
    checks: list[dict[str, Any]] = Field(description="What automatic checkers found.")
    decided_by: str | None = Field(description="`attestation`, `checkers`, or the id of a key.")
    decided_at: float | None
    reason: str | None
    expires_at: float | None
    revoked_at: float | None
    created_at: float
    identities: list[Tombstone] = Field(description="Made under it; deleted ones, too. Empty in lists.")
