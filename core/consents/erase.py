"""Takes an identity out of the world: its jobs stop, its objects go, a tombstone stays."""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.jobs import lifecycle
from core.jobs.clock import database_now
from core.jobs.steps import changed
from core.jobs.tables import Identity, Render, StageResult, StageRun, Upload


def erase_identity(session: Session, identity_id: str, because: str) -> list[str]:
    """Mark the identity as deleted and forget where its bundle, videos and interim results lie.

    Its video and speeches go, too, unless another identity or render needs them. Rows are locked as everywhere: jobs
    before what they make.

    Args:
        session: a writing session.
        identity_id: of an identity that is not deleted.
        because: `deleted` or `consent_revoked`.

    Returns:
        The keys of the objects to remove after the commit. Where that is cut short, the sweep for orphans does it.
    """
    _stop(session, session.get_one(Identity, identity_id).job_id)
    mark = update(Identity).where(Identity.id == identity_id)
    changed(session, mark.values(deleted_at=database_now(), deleted_because=because))
    identity = session.get_one(Identity, identity_id, populate_existing=True)
    keys: list[str | None] = [identity.bundle_key]
    jobs = [identity.job_id]
    renders = select(Render).where(Render.identity_id == identity_id).order_by(Render.job_id)
    for render in session.scalars(renders).all():
        _stop(session, render.job_id)
        session.refresh(render)
        keys.append(render.output_key)
        jobs.append(render.job_id)
        keys += _forget_upload(session, render.upload_id)
    keys += _forget_upload(session, identity.upload_id) + _interim(session, jobs)
    changed(session, update(Render).where(Render.identity_id == identity_id).values(output_key=None))
    changed(session, mark.values(bundle_key=None))
    session.expire_all()
    return sorted({key for key in keys if key is not None})


def _stop(session: Session, job_id: str) -> None:
    with contextlib.suppress(lifecycle.JobConflictError):
        lifecycle.cancel(session, job_id)


def _forget_upload(session: Session, upload_id: str) -> list[str]:
    """The upload's object, if nothing that is left was made from it."""
    kept = Identity.deleted_at.is_(None)
    identities = select(Identity.id).where(Identity.upload_id == upload_id, kept)
    renders = select(Render.id).join(Identity, Identity.id == Render.identity_id)
    renders = renders.where(Render.upload_id == upload_id, kept)
    if any(session.scalar(others.limit(1)) is not None for others in (identities, renders)):
        return []
    gone = update(Upload).where(Upload.id == upload_id, Upload.removed_at.is_(None))
    if changed(session, gone.values(removed_at=database_now())) == 0:
        return []
    return [session.get_one(Upload, upload_id).object_key]


def _interim(session: Session, jobs: list[str]) -> list[str]:
    """What the stages left in the store: outputs and checkpoints, unless another job went on from the same object."""
    stages = session.execute(select(StageRun.output, StageRun.checkpoint).where(StageRun.job_id.in_(jobs))).all()
    results = session.scalars(select(StageResult.output).where(StageResult.job_id.in_(jobs))).all()
    mine = {_key(left) for row in stages for left in row} | {_key(output) for output in results}
    session.execute(delete(StageResult).where(StageResult.job_id.in_(jobs)))
    changed(session, update(StageRun).where(StageRun.job_id.in_(jobs)).values(output=None, checkpoint=None))
    keys = {key for key in mine if key is not None}
    if not keys:
        return []
    others = select(StageRun.output).where(
        StageRun.job_id.not_in(jobs), StageRun.output["key"].as_string().in_(sorted(keys))
    )
    return sorted(keys - {_key(output) for output in session.scalars(others)})


def _key(left: dict[str, Any] | None) -> str | None:
    return (left or {}).get("key")
