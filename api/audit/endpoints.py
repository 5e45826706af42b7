"""`/audit`: who did what in the tenant's account. Wants a key with the scope `admin`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from api.deps import AdminCaller, Limit, PlatformDep
from api.problems import KEYED
from core.accounts.tables import AuditEntry

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditOut(BaseModel):
    """One entry. `hash` is over all of it and `previous`: sha256 of the canonical JSON (docs/http.md)."""

    number: int
    at: float
    actor: str = Field(description="The id of a key, `operator`, or `platform`.")
    action: str
    subject: str
    request_id: str
    data: dict[str, Any]
    previous: str
    hash: str


class AuditList(BaseModel):
    """Entries, oldest first."""

    items: list[AuditOut]


@router.get("", responses=KEYED)
def list_audit(
    platform: PlatformDep,
    caller: AdminCaller,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="The number of the last entry that you have.")] = 0,
) -> AuditList:
    """The tenant's log after an entry, oldest first."""
    mine = select(AuditEntry).where(AuditEntry.chain == caller.tenant, AuditEntry.number > after)
    with platform.database.read() as session:
        rows = session.scalars(mine.order_by(AuditEntry.number).limit(limit)).all()
        return AuditList(items=[AuditOut.model_validate(row, from_attributes=True) for row in rows])
