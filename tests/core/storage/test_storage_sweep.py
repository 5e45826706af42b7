"""The sweep removes what nothing points at, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import JSON, String, update

import core.accounts.tables
import core.consents.tables
import core.webhooks.tables  # noqa: F401 - all tables are in Base.metadata then
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import JobKind
from core.jobs.lifecycle import submit
from core.jobs.storage_sweep import JSON_COLUMNS, KEY_COLUMNS, referenced_keys, sweep_storage
from core.jobs.tables import Base, Identity, Job, StageRun, Tenant, Upload
from core.settings import Settings, load_settings
from core.storage import LocalStore

HOURS = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", upload_hours=24, orphan_hours=48)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.database)
    opened.migrate()
    with opened.write() as session:
        session.add(Tenant(id="ten_1", name="one"))
    yield opened
    opened.close()


@pytest.fixture
def store(settings: Settings, tmp_path: Path) -> LocalStore:
    (tmp_path / "source").write_bytes(b"bytes")
    return LocalStore(settings.objects_dir)


def put(store: LocalStore, key: str, tmp_path: Path, age_s: float) -> None:
    store.put(key, tmp_path / "source")
    path = store.local_path(key)
    assert path is not None
    os.utime(path, (time.time() - age_s, time.time() - age_s))


def announce(database: Database, upload_id: str, age_s: float, state: str = "awaiting", **more: object) -> None:
    with database.write() as session:
        upload = Upload(
            id=upload_id, tenant_id="ten_1", state=state, filename="x", content_type="video/mp4", size=5,
            sha256="0" * 64, object_key=f"ten_1/uploads/{upload_id}/x", **more,
        )  # fmt: skip
        session.add(upload)
        session.flush()
        aged = update(Upload).where(Upload.id == upload_id)
        session.execute(aged.values(created_at=database_now() - age_s))


def test_an_old_object_that_nothing_points_at_is_deleted(
    settings: Settings, database: Database, store: LocalStore, tmp_path: Path
) -> None:
    put(store, "ten_1/renders/r/a1/video.mp4", tmp_path, 49 * HOURS)
    put(store, "ten_1/renders/r/a2/video.mp4", tmp_path, 47 * HOURS)
    told = sweep_storage(settings, database, store, dry_run=True)
    assert [found.key for found in told.orphans] == ["ten_1/renders/r/a1/video.mp4"]
    assert len(list(store.objects(""))) == 2
    assert sweep_storage(settings, database, store).orphans[0].key == "ten_1/renders/r/a1/video.mp4"
    assert [found.key for found in store.objects("")] == ["ten_1/renders/r/a2/video.mp4"]


def test_what_a_row_points_at_stays_until_the_row_is_a_tombstone(
    settings: Settings, database: Database, store: LocalStore, tmp_path: Path
) -> None:
    keys = ["ten_1/uploads/upl_1/x", "ten_1/identities/idt_1/a1/avatar.likeness", "ten_1/work/checkpoint", "ten_1/w/o"]
    for key in keys:
        put(store, key, tmp_path, 1000 * HOURS)
    announce(database, "upl_1", 1000 * HOURS, state="complete")
    with database.write() as session:
        job = submit(session, tenant_id="ten_1", kind=JobKind.ADAPT, subject_id="idt_1", inputs={}, max_attempts=3)
        about = {"checkpoint": {"key": keys[2]}, "output": {"files": [{"key": keys[3]}]}}
        session.execute(update(StageRun).where(StageRun.job_id == job.id).values(about))
        session.add(
            Identity(
                id="idt_1", tenant_id="ten_1", name="n", upload_id="upl_1", job_id=job.id, profile="draft", umf="none",
                consent_id="con_1", tags={}, bundle_key=keys[1],
            )
        )  # fmt: skip
    assert sweep_storage(settings, database, store).orphans == ()
    with database.write() as session:
        session.execute(update(Identity).values(deleted_at=database_now()))
    assert [found.key for found in sweep_storage(settings, database, store).orphans] == [keys[1]]


def test_an_upload_that_never_ended_is_dropped_with_its_parts_and_its_job(
    settings: Settings, database: Database, store: LocalStore, tmp_path: Path
) -> None:
    parts = store.start_parts("ten_1/uploads/upl_old/x", "0" * 64, "video/mp4")
    announce(database, "upl_old", 25 * HOURS, part_upload=parts, part_bytes=4)
    announce(database, "upl_new", 23 * HOURS)
    put(store, "ten_1/uploads/upl_new/x", tmp_path, 0)
    with database.write() as session:
        for upload in ("upl_old", "upl_new"):
            submit(
                session, tenant_id="ten_1", kind=JobKind.ADAPT, subject_id=upload, inputs={}, max_attempts=3,
                awaiting_upload_id=upload,
            )  # fmt: skip
    assert sweep_storage(settings, database, store).uploads == 1
    assert not (store.root / "parts" / parts).exists()
    with database.read() as session:
        assert {job.subject_id: job.state for job in session.query(Job)} == {
            "upl_old": "expired",
            "upl_new": "awaiting_upload",
        }
        assert session.get_one(Upload, "upl_old").state == "expired"
    assert store.local_path("ten_1/uploads/upl_new/x") is not None


def test_files_of_killed_processes_are_dropped(settings: Settings, database: Database, store: LocalStore) -> None:
    dead, alive = store.incoming(), store.incoming()
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    assert sweep_storage(settings, database, store).leftovers == 1
    assert (dead.exists(), alive.exists()) == (False, True)


NO_KEYS_OF_OBJECTS = {"idempotency.key", "webhook_endpoint.salt"}
NO_KEYS_IN_JSON = {
    "audit_entry.data", "consent.checks", "event.data", "idempotency.body", "identity.tags", "job.inputs", "job.origin",
    "api_key.scopes", "outbox.payload", "render.options", "render.result", "render.tags", "render_batch.items",
    "umf.card", "webhook_delivery.log", "webhook_delivery.payload", "webhook_endpoint.events",
}  # fmt: skip


def test_no_column_with_keys_is_forgotten() -> None:
    """A new column with object keys must be named in the sweep, or the sweep would delete what it points at."""
    columns = [column for table in Base.metadata.sorted_tables for column in table.columns]
    texts = {str(column) for column in columns if isinstance(column.type, String) and column.name.endswith("key")}
    assert texts - NO_KEYS_OF_OBJECTS == {str(column) for column in columns if column.name in KEY_COLUMNS}
    json = {str(column) for column in columns if isinstance(column.type, JSON)}
    assert json - NO_KEYS_IN_JSON == {str(column) for column in columns if column.name in JSON_COLUMNS}


def test_every_table_with_keys_is_one_that_the_sweep_imports() -> None:
    wanted = {*KEY_COLUMNS, *JSON_COLUMNS}
    rooms = {one.class_.__module__ for one in Base.registry.mappers if wanted & set(one.columns.keys())}
    assert rooms == {"core.jobs.tables"}


def test_an_empty_database_points_at_nothing(database: Database) -> None:
    assert list(referenced_keys(database)) == []
