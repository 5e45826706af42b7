"""`/umfs`: which universal motion fields an identity can start from."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import PlatformDep, TenantDep
from api.umfs.service import umf_files

router = APIRouter(prefix="/umfs", tags=["umfs"])


class UmfOut(BaseModel):
    """A universal motion field."""

    name: str
    size: int = Field(description="Bytes; 0 for `none`, which trains from scratch.")


class UmfList(BaseModel):
    """All of them: there are few."""

    items: list[UmfOut]


@router.get("")
def list_umfs(platform: PlatformDep, tenant: TenantDep) -> UmfList:
    """The names that POST /identities accepts as `umf`."""
    del tenant
    files = [UmfOut(name=name, size=path.stat().st_size) for name, path in umf_files(platform).items()]
    return UmfList(items=[UmfOut(name="none", size=0), *files])
