"""Points an identity at its bundle, or a render at its video: the one write that makes a result visible."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.jobs.steps import changed
from core.jobs.tables import Identity, Render, Umf


def publish_bundle(session: Session, identity_id: str, key: str, size: int, sha256: str) -> bool:
    """Point the identity at its bundle. Returns False where the identity was deleted meanwhile."""
    pointer = update(Identity).where(Identity.id == identity_id, Identity.deleted_at.is_(None))
    return changed(session, pointer.values(bundle_key=key, bundle_size=size, bundle_sha256=sha256)) == 1


def publish_video(session: Session, render_id: str, key: str, size: int, sha256: str, result: dict[str, Any]) -> bool:
    """Point the render at its video and keep what the renderer measured. False where its identity was deleted."""
    kept = select(Identity.id).where(Identity.id == Render.identity_id, Identity.deleted_at.is_(None)).exists()
    pointer = update(Render).where(Render.id == render_id, kept)
    values = {"output_key": key, "output_size": size, "output_sha256": sha256, "result": result}
    return changed(session, pointer.values(values)) == 1


def publish_umf(session: Session, umf_id: str, key: str, size: int, sha256: str, card: dict[str, Any]) -> bool:
    """Point the tenant's motion field at its file, and keep what its training measured. False where it was deleted."""
    pointer = update(Umf).where(Umf.id == umf_id, Umf.deleted_at.is_(None))
    values = {"object_key": key, "object_size": size, "object_sha256": sha256, "card": card}
    return changed(session, pointer.values(values)) == 1
