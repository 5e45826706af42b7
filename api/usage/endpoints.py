"""`/usage`: what the tenant used, and what it may use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from api.deps import PlatformDep, TenantDep
from api.problems import KEYED
from core.accounts.quotas import WINDOW_SECONDS, limits_of
from core.accounts.usage import stored_bytes, used_between, video_seconds
from core.jobs.clock import database_now
from core.jobs.states import JOB_LIVE
from core.jobs.tables import Job

router = APIRouter(prefix="/usage", tags=["usage"])
Time = Annotated[float | None, Query(ge=0, le=1e11, description="Seconds since 1970.")]


class StageUseOut(BaseModel):
    """Compute of one stage."""

    stage: str
    attempts: int
    seconds: float = Field(description="Of a worker; lost and cancelled attempts count.")


class QuotaOut(BaseModel):
    """One quota, as it stands now."""

    used: float
    limit: float | None = Field(description="Null: none.")


class UsageOut(BaseModel):
    """What ended between `since` and `until`, and how the quotas stand now."""

    since: float
    until: float
    stages: list[StageUseOut]
    compute_seconds: float
    jobs: int
    renders: int
    video_seconds: float = Field(description="Of finished renders.")
    stored_bytes: QuotaOut
    video_seconds_30_days: QuotaOut
    live_jobs: QuotaOut = Field(description="Jobs that wait or run.")


@router.get("", responses=KEYED)
def get_usage(platform: PlatformDep, tenant: TenantDep, since: Time = None, until: Time = None) -> UsageOut:
    """By default of the last 30 days."""
    with platform.database.read() as session:
        now = float(session.scalar(select(database_now())) or 0.0)
        end = until if until is not None else now
        start = since if since is not None else end - WINDOW_SECONDS
        used = used_between(session, tenant, start, end)
        limits = limits_of(session, platform.settings, tenant)
        live = select(func.count()).select_from(Job).where(Job.tenant_id == tenant, Job.state.in_(JOB_LIVE))
        return UsageOut(
            since=start,
            until=end,
            stages=[StageUseOut(stage=one.stage, attempts=one.attempts, seconds=one.seconds) for one in used.stages],
            compute_seconds=round(sum(one.seconds for one in used.stages), 3),
            jobs=used.jobs,
            renders=used.renders,
            video_seconds=used.video_seconds,
            stored_bytes=QuotaOut(used=stored_bytes(session, tenant), limit=limits.stored_bytes),
            video_seconds_30_days=QuotaOut(
                used=video_seconds(session, tenant, WINDOW_SECONDS), limit=limits.video_seconds
            ),
            live_jobs=QuotaOut(used=session.scalar(live) or 0, limit=limits.live_jobs),
        )
