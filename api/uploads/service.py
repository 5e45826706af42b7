"""Uploads: announced, sent straight to the store, confirmed. Bytes that are not the announced ones are never used."""

from __future__ import annotations

import contextlib
import math
from pathlib import PurePosixPath

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.deps import Platform
from api.problems import ApiError, NotFoundError
from api.uploads.schemas import PartTarget, PutTarget, UploadCreate, UploadOut
from core.accounts.quotas import check_storage
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.lifecycle import release_waiting
from core.jobs.steps import changed
from core.jobs.tables import Upload
from core.storage import ObjectExistsError, ObjectMissingError, StoredObject

AWAITING, COMPLETE, EXPIRED = "awaiting", "complete", "expired"


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
    """Announce an upload; a file that is larger than one part comes in parts.

    Raises:
        ApiError: `upload_too_large`.
        QuotaError: `quota_bytes`.
    """
    limit, part_bytes = platform.settings.max_upload_bytes, platform.settings.part_bytes
    if body.size > limit:
        raise ApiError("upload_too_large", f"Uploads may have {limit} bytes at most.", "Send a shorter clip.")
    check_storage(session, platform.settings, tenant, body.size)
    upload_id = new_id("upl")
    key = f"{tenant}/uploads/{upload_id}/{body.sha256}"
    in_parts = body.size > part_bytes
    upload = Upload(
        id=upload_id,
        tenant_id=tenant,
        state=AWAITING,
        filename=PurePosixPath(body.filename.replace("\\", "/")).name or "upload",
        content_type=body.content_type,
        size=body.size,
        sha256=body.sha256,
        object_key=key,
        part_upload=platform.store.start_parts(key, body.sha256, body.content_type) if in_parts else None,
        part_bytes=part_bytes if in_parts else None,
    )
    session.add(upload)
    session.flush()
    return upload


def complete(platform: Platform, tenant: str, upload_id: str) -> Upload:
    """Confirm an upload, and start the jobs that waited for it. Confirming twice is the same as once.

    The store is asked outside of any transaction: it may take its time.

    Raises:
        ApiError: `upload_incomplete`, bytes are missing; `upload_expired`; `upload_size_mismatch` or
            `upload_hash_mismatch`, other bytes came: they are dropped, the right ones can be sent.
    """
    with platform.database.read() as session:
        upload = find(session, tenant, upload_id)
    if upload.state == COMPLETE:
        return upload
    if upload.state == AWAITING:
        _check(platform, upload, _received(platform, upload))
    with platform.database.write() as session:
        waiting = update(Upload).where(Upload.id == upload_id, Upload.state == AWAITING)
        if changed(session, waiting.values(state=COMPLETE, completed_at=database_now())):
            release_waiting(session, upload_id, platform.settings.max_attempts)
        upload = session.get_one(Upload, upload_id, populate_existing=True)
    if upload.state == EXPIRED:
        raise ApiError("upload_expired", "This upload took too long and was dropped.", "Create another upload.")
    return upload


def describe(platform: Platform, upload: Upload) -> UploadOut:
    """The upload as the API shows it, with fresh targets while it waits for bytes."""
    put: PutTarget | None = None
    parts: list[PartTarget] = []
    if upload.state == AWAITING and upload.part_upload is not None:
        parts = _part_targets(platform, upload, upload.part_upload)
    elif upload.state == AWAITING:
        target = platform.store.put_target(
            upload.object_key, upload.size, upload.sha256, upload.content_type, platform.settings.upload_link_seconds
        )
        put = PutTarget(url=target.url, headers=target.headers)
    return UploadOut(
        id=upload.id,
        state=upload.state,  # type: ignore[arg-type]
        filename=upload.filename,
        content_type=upload.content_type,
        size=upload.size,
        sha256=upload.sha256,
        put=put,
        parts=parts,
        created_at=upload.created_at,
        completed_at=upload.completed_at,
    )


def _layout(upload: Upload) -> list[tuple[int, int, int]]:
    """Number, offset and size of each part."""
    each = upload.part_bytes or upload.size
    count = math.ceil(upload.size / each)
    return [(number + 1, number * each, min(each, upload.size - number * each)) for number in range(count)]


def _part_targets(platform: Platform, upload: Upload, part_upload: str) -> list[PartTarget]:
    here = platform.store.stored_parts(upload.object_key, part_upload)
    seconds = platform.settings.upload_link_seconds
    found = []
    for number, offset, size in _layout(upload):
        target = platform.store.part_target(upload.object_key, part_upload, number, size, seconds)
        stored = here.get(number) == size
        found.append(
            PartTarget(url=target.url, headers=target.headers, number=number, offset=offset, size=size, stored=stored)
        )
    return found


def _received(platform: Platform, upload: Upload) -> StoredObject:
    """What really lies in the store; parts are joined first."""
    store, key = platform.store, upload.object_key
    with contextlib.suppress(ObjectMissingError):
        return store.verify(key)
    incomplete = ApiError("upload_incomplete", "Not all bytes of this upload are here yet.", "PUT them first.")
    if upload.part_upload is None:
        raise incomplete
    here = store.stored_parts(key, upload.part_upload)
    if here != {number: size for number, _, size in _layout(upload)}:
        raise incomplete
    try:
        # A caller beside this one may have joined them already.
        with contextlib.suppress(ObjectExistsError, ObjectMissingError):
            store.join_parts(key, upload.part_upload)
        return store.verify(key)
    except ObjectMissingError:
        raise incomplete from None


def _check(platform: Platform, upload: Upload, found: StoredObject) -> None:
    if (found.size, found.sha256) == (upload.size, upload.sha256):
        return
    platform.store.delete(upload.object_key)
    if upload.part_upload is not None:
        fresh = platform.store.start_parts(upload.object_key, upload.sha256, upload.content_type)
        with platform.database.write() as session:
            changed(session, update(Upload).where(Upload.id == upload.id).values(part_upload=fresh))
    if found.size != upload.size:
        message = f"{upload.size} bytes were announced, {found.size} came."
        raise ApiError("upload_size_mismatch", message, "Send all of the bytes again.")
    raise ApiError(
        "upload_hash_mismatch", "The bytes do not have the announced sha256.", "Send the file again, unchanged."
    )
