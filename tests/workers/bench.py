"""One identity to make, in this process: a database, a store, and whatever pipeline a test wants."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.accounts.keys import create_tenant
from core.jobs import lifecycle
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.identifiers import new_id
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.reaper import reap
from core.jobs.storage_sweep import referenced_keys
from core.jobs.tables import Identity, Job, Render, StageRun, Upload
from core.settings import Settings, load_settings
from core.storage import LocalStore, ObjectStore
from tests.workers.tiny_worker import TinyPipeline
from workers.pipeline import Pipeline
from workers.stage import StageRunner


class Bench:
    """A database, a store and one identity to make."""

    def __init__(self, folder: Path, clip: bytes = b"steps=2") -> None:
        settings = load_settings(data_dir=folder / "data", max_attempts=2, retry_seconds=0.0)
        self._open(settings, Database(settings.database), LocalStore(settings.objects_dir), folder)
        self.identity, self.job = self.add_identity(clip)

    @classmethod
    def of(cls, settings: Settings, database: Database, store: ObjectStore, folder: Path) -> Bench:
        """A bench of these parts, with nothing to make yet."""
        bench = cls.__new__(cls)
        bench._open(settings, database, store, folder)
        return bench

    def _open(self, settings: Settings, database: Database, store: ObjectStore, folder: Path) -> None:
        self.settings, self.database, self.store, self.folder = settings, database, store, folder
        self.database.migrate()
        with self.database.write() as session:
            self.tenant = create_tenant(session, "one")

    def upload(self, content: bytes, tenant: str) -> dict[str, str]:
        """Returns the file as a job's input."""
        upload = Upload(
            id=new_id("upl"),
            tenant_id=tenant,
            state="complete",
            filename="clip.mp4",
            content_type="video/mp4",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            object_key=f"{tenant}/uploads/{new_id('obj')}",
        )
        (self.folder / "sent").write_bytes(content)
        self.store.put(upload.object_key, self.folder / "sent")
        with self.database.write() as session:
            session.add(upload)
        return {"key": upload.object_key, "name": "video.mp4", "sha256": upload.sha256, "upload": upload.id}

    def add_identity(self, clip: bytes, tenant: str | None = None, **options: object) -> tuple[str, str]:
        """Returns the ids of an identity and its job."""
        owner, identity = tenant or self.tenant, new_id("idt")
        video = self.upload(clip, owner)
        with self.database.write() as session:
            job = self.submit(session, JobKind.ADAPT, identity, owner, {"video": video, "options": options})
            session.add(
                Identity(
                    id=identity,
                    tenant_id=owner,
                    name="one",
                    upload_id=video["upload"],
                    job_id=job,
                    profile="draft",
                    umf="none",
                    consent_id="cns_0",
                    tags={},
                )
            )
        return identity, job

    def add_render(self, speech: bytes) -> tuple[str, str]:
        """Returns the ids of a render of the first identity, which is done, and its job."""
        made, render, audio = self.row(), new_id("rnd"), self.upload(speech, self.tenant)
        bundle = {"key": made.bundle_key, "name": "avatar.likeness", "sha256": made.bundle_sha256}
        inputs = {"bundle": bundle, "audio": {**audio, "name": "audio.wav"}, "options": {}}
        with self.database.write() as session:
            job = self.submit(session, JobKind.RENDER, render, self.tenant, inputs)
            session.add(
                Render(
                    id=render,
                    tenant_id=self.tenant,
                    identity_id=self.identity,
                    upload_id=audio["upload"],
                    job_id=job,
                    options={},
                    tags={},
                )
            )
        return render, job

    def add_identity_with(self, bundle: Path) -> None:
        """An identity whose bundle was made elsewhere: the one that `add_render` lets speak."""
        sent, self.identity = self.upload(bundle.read_bytes(), self.tenant), new_id("idt")
        with self.database.write() as session:
            self.job = self.submit(session, JobKind.ADAPT, self.identity, self.tenant, {"video": sent, "options": {}})
            session.add(
                Identity(
                    id=self.identity,
                    tenant_id=self.tenant,
                    name="one",
                    upload_id=sent["upload"],
                    job_id=self.job,
                    profile="draft",
                    umf="none",
                    consent_id="cns_0",
                    tags={},
                    bundle_key=sent["key"],
                    bundle_sha256=sent["sha256"],
                )
            )
            session.flush()
            lifecycle.cancel(session, self.job)

    @staticmethod
    def submit(session: Session, kind: JobKind, subject: str, tenant: str, inputs: dict[str, Any]) -> str:
        job = lifecycle.submit(session, tenant_id=tenant, kind=kind, subject_id=subject, inputs=inputs, max_attempts=2)
        return job.id

    def runner(self, pipeline: Pipeline, owner: str = "first", **changed: object) -> StageRunner:
        """With `data_dir` changed it is one on another machine."""
        stop = changed.pop("stop_requested", lambda: False)
        settings = self.settings.model_copy(update=changed)
        return StageRunner(settings, self.database, self.store, pipeline, owner, stop)  # type: ignore[arg-type]

    def run(self, pipeline: Pipeline, owner: str = "first", **changed: object) -> None:
        """Be a worker until nothing is left to do."""
        runner = self.runner(pipeline, owner, **changed)
        while runner.run_next(QUEUES):
            pass

    def overtake(self, _: Path) -> None:
        """The lease of the running stage ends, and another worker takes the job over and finishes it."""
        with self.database.write() as session:
            running = update(StageRun).where(StageRun.state == "running")
            session.execute(running.values(lease_until=database_now() - 1))
        reap(self.database, 60)
        # In another thread, so that it does not share the first attempt's hold on the work folder.
        other = threading.Thread(target=self.run, args=(TinyPipeline(), "second"))
        other.start()
        other.join()

    def row(self, identity: str | None = None) -> Identity:
        with self.database.read() as session:
            return session.get_one(Identity, identity or self.identity)

    def job_row(self, job: str | None = None) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job or self.job)

    def stages(self, job: str) -> list[StageRun]:
        with self.database.read() as session:
            mine = select(StageRun).where(StageRun.job_id == job).order_by(StageRun.position, StageRun.segment)
            return list(session.scalars(mine))

    def bundles(self) -> list[str]:
        return sorted(path.parent.name for path in self.settings.objects_dir.rglob("avatar.likeness"))

    def objects(self) -> set[str]:
        return {found.key for found in self.store.objects("")}

    def orphans(self) -> set[str]:
        """Objects that no row points at."""
        return self.objects() - set(referenced_keys(self.database))
