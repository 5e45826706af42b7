"""Batches of renders: what became of each item, and all videos as one archive."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deps import Platform
from api.problems import ApiError, NotFoundError
from api.renders import service
from api.renders.archive import Member
from api.renders.schemas import BatchItemOut, RefusalOut, RenderBatchCreate, RenderBatchOut
from core.errors import LikenessError
from core.jobs.identifiers import new_id
from core.jobs.states import JOB_FINISHED, JobState
from core.jobs.tables import Identity, Render, RenderBatch


def create(session: Session, platform: Platform, tenant: str, body: RenderBatchCreate) -> RenderBatchOut:
    """Add the renders that can be accepted, and keep why the others can't.

    Raises:
        ApiError: `batch_too_large`; `batch_refused`, none of the items can be accepted: nothing was made.
    """
    limit = platform.settings.max_batch_items
    if len(body.items) > limit:
        raise ApiError("batch_too_large", f"A batch may have {limit} items at most.", "Send several batches.")
    batch = RenderBatch(id=new_id("bat"), tenant_id=tenant, items=[])
    session.add(batch)
    session.flush()
    kept: list[dict[str, Any]] = []
    shown: list[BatchItemOut] = []
    for item in body.items:
        try:
            with session.begin_nested():
                render, job = service.create(session, platform, tenant, item, batch.id)
        except LikenessError as error:
            refusal = RefusalOut(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)
            kept.append({"error": refusal.model_dump()})
            shown.append(BatchItemOut(render=None, error=refusal))
        else:
            kept.append({"render": render.id})
            shown.append(BatchItemOut(render=service.describe(render, job), error=None))
    refused = [item.error for item in shown if item.error is not None]
    if len(refused) == len(shown):
        raise BatchRefusedError(refused)
    batch.items = kept
    session.flush()
    return _described(batch, shown)


class BatchRefusedError(ApiError):
    """None of the items can be accepted."""

    def __init__(self, refused: list[RefusalOut]) -> None:
        codes = ", ".join(sorted({one.code for one in refused}))
        super().__init__(
            "batch_refused", f"None of the {len(refused)} items can be accepted: {codes}.", refused[0].hint
        )


def find(session: Session, tenant: str, batch_id: str) -> RenderBatch:
    """The tenant's batch.

    Raises:
        NotFoundError: no such batch, or not this tenant's.
    """
    batch = session.scalar(select(RenderBatch).where(RenderBatch.id == batch_id, RenderBatch.tenant_id == tenant))
    if batch is None:
        raise NotFoundError("render batch")
    return batch


def read(session: Session, batch: RenderBatch) -> RenderBatchOut:
    """The batch as the API shows it. A render whose identity was deleted is shown as `not_found`."""
    renders = session.scalars(
        select(Render)
        .join(Identity, Identity.id == Render.identity_id)
        .where(Render.batch_id == batch.id, Identity.deleted_at.is_(None))
    ).all()
    found = {render.id: render for render in service.describe_all(session, renders)}
    gone = NotFoundError("render")
    deleted = {"code": gone.code, "message": gone.message, "hint": gone.hint, "retryable": False}
    items = []
    for item in batch.items:
        render = found.get(item.get("render", ""))
        error = None if render is not None else RefusalOut(**(item.get("error") or deleted))
        items.append(BatchItemOut(render=render, error=error))
    return _described(batch, items)


def members(session: Session, batch: RenderBatch) -> list[Member]:
    """What the archive holds.

    Raises:
        ApiError: `not_ready`, the batch is running.
    """
    told = read(session, batch)
    if told.state == "running":
        raise ApiError("not_ready", "Not all renders of the batch have ended.", "Wait until it is not running.")
    pointers = session.execute(select(Render.id, Render.output_key).where(Render.batch_id == batch.id))
    keys = {row.id: row.output_key for row in pointers}
    found = []
    for number, item in enumerate(told.items, 1):
        key = keys.get(item.render.id) if item.render is not None else None
        name = f"{number:04d}-{item.render.id}.mp4" if item.render is not None and key is not None else None
        found.append(Member(name, key, item.model_dump(mode="json")))
    return found


def _described(batch: RenderBatch, items: list[BatchItemOut]) -> RenderBatchOut:
    states = [item.render.state for item in items if item.render is not None]
    state = "succeeded"
    if any(one not in JOB_FINISHED for one in states):
        state = "running"
    elif len(states) < len(items) or any(one is not JobState.SUCCEEDED for one in states):
        state = "failed"
    return RenderBatchOut(
        id=batch.id,
        state=state,  # type: ignore[arg-type]
        items=items,
        archive=f"/v1/render-batches/{batch.id}/archive",
        created_at=batch.created_at,
    )
