"""One identity to make, in this process: a database, a store, and whatever pipeline a test wants."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from sqlalchemy import update

from core.jobs import lifecycle
from core.accounts.keys import create_tenant
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.identifiers import new_id
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.reaper import reap
from core.jobs.tables import Identity, StageRun, Upload
from core.settings import Settings, load_settings
from core.storage import LocalStore
from tests.workers.tiny_worker import TinyPipeline
from workers.pipeline import Pipeline
from workers.stage import StageRunner


class Bench:
    """A database, a store and one identity to make."""

    def __init__(self, folder: Path, clip: bytes = b"steps=2") -> None:
        self.settings: Settings = load_settings(data_dir=folder / "data", max_attempts=2)
        self.database = Database(self.settings.database)
        self.database.migrate()
        self.store = LocalStore(self.settings.objects_dir)
        self.identity = new_id("idt")
        source = folder / "clip"
        source.write_bytes(clip)
        with self.database.write() as session:
            tenant = create_tenant(session, "one")
            upload = Upload(
                id=new_id("upl"),
                tenant_id=tenant,
                state="complete",
                filename="clip.mp4",
                content_type="video/mp4",
                size=len(clip),
                sha256=hashlib.sha256(clip).hexdigest(),
                object_key=f"{tenant}/uploads/clip",
            )
            session.add(upload)
            session.flush()
            job = lifecycle.submit(
                session,
                tenant_id=tenant,
                kind=JobKind.ADAPT,
                subject_id=self.identity,
                inputs={"video": {"key": upload.object_key, "name": "video.mp4"}, "options": {}},
                max_attempts=2,
            )
            session.add(
                Identity(
                    id=self.identity,
                    tenant_id=tenant,
                    name="one",
                    upload_id=upload.id,
                    job_id=job.id,
                    profile="draft",
                    umf="none",
                    consent_attested=True,
                )
            )
        self.job = job.id
        self.store.put(upload.object_key, source)

    def run(self, pipeline: Pipeline, owner: str = "first") -> None:
        runner = StageRunner(self.settings, self.database, self.store, pipeline, owner, lambda: False)
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

    def row(self) -> Identity:
        with self.database.read() as session:
            return session.get_one(Identity, self.identity)

    def bundles(self) -> list[str]:
        return sorted(path.parent.name for path in self.settings.objects_dir.rglob("avatar.likeness"))
