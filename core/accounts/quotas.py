"""What a tenant may use: bytes stored, seconds of video, jobs at a time. Asked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.accounts.tables import Quota
from core.accounts.usage import stored_bytes, video_seconds
from core.errors import LikenessError
from core.jobs.states import JOB_LIVE
from core.jobs.tables import Job
from core.settings import Settings

Number = TypeVar("Number", int, float)
WINDOW_SECONDS = 30 * 24 * 3600.0
"""Over so long the seconds of video are counted."""


class QuotaError(LikenessError):
    """The tenant has used up what it may use (`quota_bytes`, `quota_seconds`): an operator can raise it."""


class TooManyJobsError(LikenessError):
    """So many jobs of the tenant wait or run that no more are taken on."""

    retryable = True
    retry_after_s = 30

    def __init__(self, limit: int) -> None:
        super().__init__(
            "too_many_jobs", f"{limit} jobs wait or run already.", "Try again when some have ended, or cancel some."
        )


@dataclass(frozen=True)
class Limits:
    """What one tenant may use; None: as much as it likes."""

    stored_bytes: int | None
    video_seconds: float | None
    live_jobs: int | None


def limits_of(session: Session, settings: Settings, tenant_id: str) -> Limits:
    """The tenant's own limits, the platform's where it has none."""
    own = session.get(Quota, tenant_id) or Quota()
    return Limits(
        stored_bytes=_first(own.max_stored_bytes, settings.quota_stored_bytes),
        video_seconds=_first(own.max_video_seconds, settings.quota_video_seconds),
        live_jobs=_first(own.max_live_jobs, settings.quota_live_jobs),
    )


def check_storage(session: Session, settings: Settings, tenant_id: str, size: int) -> None:
    """Whether the tenant may store `size` bytes more.

    Raises:
        QuotaError: `quota_bytes`.
    """
    limit = limits_of(session, settings, tenant_id).stored_bytes
    if limit is not None and stored_bytes(session, tenant_id) + size > limit:
        raise QuotaError(
            "quota_bytes", f"Your storage of {limit} bytes is used up.", "Delete identities, or ask for a higher quota."
        )


def check_jobs(session: Session, settings: Settings, tenant_id: str) -> None:
    """Whether the tenant may have one job more.

    Raises:
        TooManyJobsError: `too_many_jobs`.
    """
    limit = limits_of(session, settings, tenant_id).live_jobs
    if limit is None:
        return
    live = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, Job.state.in_(JOB_LIVE))
    if (session.scalar(live) or 0) >= limit:
        raise TooManyJobsError(limit)


def check_video(session: Session, settings: Settings, tenant_id: str) -> None:
    """Whether the tenant may render at all: how long a video gets is only known when it is made.

    Raises:
        QuotaError: `quota_seconds`.
    """
    limit = limits_of(session, settings, tenant_id).video_seconds
    if limit is not None and video_seconds(session, tenant_id, WINDOW_SECONDS) >= limit:
        raise QuotaError(
            "quota_seconds",
            f"Your {limit:g} seconds of video in 30 days are used up.",
            "Wait for older ones to fall out of the 30 days, or ask for a higher quota.",
        )


def _first(own: Number | None, default: Number | None) -> Number | None:
    return own if own is not None else default
