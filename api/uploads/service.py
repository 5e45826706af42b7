"""Uploads: announced, received, confirmed. Bytes that are not the announced ones are never stored."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from anyio import to_thread
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.deps import Platform
from api.problems import ApiError, NotFoundError
from api.uploads.schemas import PutTarget, UploadCreate, UploadOut
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.lifecycle import release_waiting
from core.jobs.steps import changed
from core.jobs.tables import Upload
from core.storage import ObjectExistsError

_FLUSH_BYTES = 1 << 20


def find(session: Session, tenant: str, upload_id: str) -> Upload:
    """The tenant's upload.

    Raises:
        NotFoundError: no such upload, or not this tenant's.
    """
    upload = session.scalar(select(Upload).where(Upload.id == upload_id, Upload.tenant_id == tenant))
    if upload is None:
        raise NotFoundError("upload")
    return upload


def create(session: Session, platform: Platform, tenant: str, body: UploadCreate) -> Upload:
    """Announce an upload.

    Raises:
        ApiError: `upload_too_large`.
    """
    limit = platform.settings.max_upload_bytes
    if body.size > limit:
        raise ApiError("upload_too_large", f"Uploads may have {limit} bytes at most.", "Send a shorter clip.")
    upload_id = new_id("upl")
    upload = Upload(
        id=upload_id,
        tenant_id=tenant,
        state="awaiting",
        filename=PurePosixPath(body.filename.replace("\\", "/")).name or "upload",
        content_type=body.content_type,
        size=body.size,
        sha256=body.sha256,
        object_key=f"{tenant}/uploads/{upload_id}/{body.sha256}",
    )
    session.add(upload)
    session.flush()
    return upload


async def receive(platform: Platform, tenant: str, upload_id: str, chunks: AsyncIterator[bytes]) -> Upload:
    """Stream the body to disk, check it, and store it.

    Raises:
        ApiError: `upload_size_mismatch`, `upload_hash_mismatch`; nothing was stored, the upload can be sent again.
    """
    upload = await to_thread.run_sync(_read, platform, tenant, upload_id)
    if upload.state != "awaiting":
        raise ApiError("upload_already_stored", "The bytes of this upload are here.", "Create another upload.")
    incoming = platform.settings.data_dir.absolute() / "incoming"
    incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = incoming / f"{upload_id}.{uuid.uuid4().hex}"
    try:
        await _write(partial, upload, chunks)
        return await to_thread.run_sync(_store, platform, upload, partial)
    finally:
        partial.unlink(missing_ok=True)


def complete(session: Session, platform: Platform, tenant: str, upload_id: str) -> Upload:
    """Confirm an upload, and start the jobs that waited for it. Confirming twice is the same as once.

    Raises:
        ApiError: `upload_incomplete`, the bytes are not here.
    """
    upload = find(session, tenant, upload_id)
    if upload.state == "awaiting":
        raise ApiError("upload_incomplete", "The bytes of this upload are not here yet.", "PUT them first.")
    stored = update(Upload).where(Upload.id == upload_id, Upload.state == "stored")
    if changed(session, stored.values(state="complete", completed_at=database_now())):
        release_waiting(session, upload_id, platform.settings.max_attempts)
    return session.get_one(Upload, upload_id, populate_existing=True)


def describe(upload: Upload) -> UploadOut:
    """The upload as the API shows it."""
    target = PutTarget(url=f"/v1/uploads/{upload.id}/content", headers={"Content-Type": upload.content_type})
    return UploadOut(
        id=upload.id,
        state=upload.state,  # type: ignore[arg-type]
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        put=target if upload.state == "awaiting" else None,
        created_at=upload.created_at,
        completed_at=upload.completed_at,
    )


def _read(platform: Platform, tenant: str, upload_id: str) -> Upload:
    with platform.database.read() as session:
        return find(session, tenant, upload_id)


async def _write(partial: Path, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
    digest, size, waiting = hashlib.sha256(), 0, bytearray()
    with partial.open("xb") as file:

        def flush(block: bytes) -> None:
            digest.update(block)
            file.write(block)

        async for chunk in chunks:
            size += len(chunk)
            if size > upload.size:
                raise _wrong_size(upload, f"more than {upload.size}")
            waiting += chunk
            if len(waiting) >= _FLUSH_BYTES:
                await to_thread.run_sync(flush, bytes(waiting))
                waiting.clear()
        flush(bytes(waiting))
    if size != upload.size:
        raise _wrong_size(upload, str(size))
    if digest.hexdigest() != upload.sha256:
        raise ApiError(
            "upload_hash_mismatch", "The bytes do not have the announced sha256.", "Send the file again, unchanged."
        )


def _wrong_size(upload: Upload, got: str) -> ApiError:
    return ApiError(
        "upload_size_mismatch", f"{upload.size} bytes were announced, {got} came.", "Send the whole file again."
    )


def _store(platform: Platform, upload: Upload, partial: Path) -> Upload:
    with contextlib.suppress(ObjectExistsError):  # two PUTs at once: the key holds the hash, so the bytes are the same
        platform.store.put(upload.object_key, partial)
    with platform.database.write() as session:
        awaiting = update(Upload).where(Upload.id == upload.id, Upload.state == "awaiting")
        changed(session, awaiting.values(state="stored"))
        return session.get_one(Upload, upload.id, populate_existing=True)
