"""Clears the store of what nobody will come for: uploads that never ended, and objects that no row points at.

A killed worker leaves an object whose job was then finished by another attempt; a deleted identity's object may outlive
a store that was away. Objects younger than some hours are left alone: their row may be about to be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Table, select, update

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.states import JobState
from core.jobs.steps import changed, end_job
from core.jobs.tables import Base, Job, Upload
from core.settings import Settings
from core.storage import ListedObject, ObjectStore

BATCH = 100
KEY_COLUMNS = ("bundle_key", "object_key", "output_key")
JSON_COLUMNS = ("checkpoint", "output")
"""Where object keys are, in any table: a column of this name. In JSON, any text in it may be one.

What the inputs of a job name, its upload, identity or field names too; what was deleted with those must not live on for
an old job's sake.
"""
ENDED_COLUMNS = ("deleted_at", "removed_at")
"""A row with a time in such a column points at nothing any more."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Swept:
    """What one pass removed."""

    uploads: int
    """Uploads that were never completed."""
    leftovers: int
    """Parts and files of uploads that no row knows."""
    orphans: tuple[ListedObject, ...]
    """Objects that no row points at."""


def sweep_storage(settings: Settings, database: Database, store: ObjectStore, *, dry_run: bool = False) -> Swept:
    """One pass over the whole store. With `dry_run` nothing is removed: only the orphans are told."""
    if dry_run:
        return Swept(0, 0, tuple(find_orphans(database, store, settings.orphan_hours * 3600)))
    uploads = drop_stale_uploads(database, store, settings.upload_hours * 3600)
    leftovers = store.drop_leftovers((settings.upload_hours + 1) * 3600)
    orphans = []
    for orphan in find_orphans(database, store, settings.orphan_hours * 3600):
        store.delete(orphan.key)
        orphans.append(orphan)
        _log.info("orphan deleted", key=orphan.key, size=orphan.size, age_s=round(orphan.age_s))
    return Swept(uploads, leftovers, tuple(orphans))


def drop_stale_uploads(database: Database, store: ObjectStore, older_than_s: float) -> int:
    """End uploads that were announced so many seconds ago and never completed, and the jobs that wait for them."""
    dropped = 0
    stale = (Upload.state == "awaiting", Upload.created_at < database_now() - older_than_s)
    while True:
        with database.write() as session:
            uploads = session.scalars(select(Upload).where(*stale).limit(BATCH)).all()
            for upload in uploads:
                # Only who changes the row goes on: a caller may complete the upload at this moment.
                if changed(session, update(Upload).where(Upload.id == upload.id, *stale).values(state="expired")):
                    waiting = select(Job).where(Job.awaiting_upload_id == upload.id, Job.state == "awaiting_upload")
                    for job in session.scalars(waiting).all():
                        end_job(session, job, JobState.EXPIRED, None)
                    dropped += 1
        for upload in uploads:
            if upload.part_upload is not None:
                store.abort_parts(upload.object_key, upload.part_upload)
            store.delete(upload.object_key)
        if len(uploads) < BATCH:
            return dropped


def find_orphans(database: Database, store: ObjectStore, older_than_s: float) -> Iterator[ListedObject]:
    """Objects that are older than so many seconds, and that no row points at."""
    # Listed first, asked then: what is stored or pointed at meanwhile is not taken for an orphan.
    old = [found for found in store.objects("") if found.age_s > older_than_s]
    if not old:
        return
    known = set(referenced_keys(database))
    yield from (found for found in old if found.key not in known)


def referenced_keys(database: Database) -> Iterator[str]:
    """All object keys in the database."""
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name in KEY_COLUMNS + JSON_COLUMNS]
            if columns:
                for row in session.execute(select(*columns).where(*_not_ended(table))):
                    for value in row:
                        yield from _texts(value)


def _not_ended(table: Table) -> list[Any]:
    return [table.c[name].is_(None) for name in ENDED_COLUMNS if name in table.c]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
