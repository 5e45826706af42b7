"""The wrapper around a stage, in this process: what becomes of files when an attempt is overtaken or unwanted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.jobs import lifecycle
from core.jobs.access import create_tenant
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.identifiers import new_id
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.reaper import reap
from core.jobs.tables import Attempt, Identity, Job, StageRun, Upload
from core.progress import StageContext
from core.settings import Settings, load_settings
from core.storage import LocalStore
from tests.workers.tiny_worker import TinyPipeline
from workers.background import sweep_all
from workers.stage import StageRunner


class Interrupted(TinyPipeline):
    """Something happens, once, when a stage has done its work but not said so yet."""

    def __init__(self, stage: str, then: Callable[[Path], None]) -> None:
        self.stage, self.then = stage, then

    def adapt_stage(
        self, stage: str, video: Path, workdir: Path, bundle: Path, options: Mapping[str, Any], context: StageContext
    ) -> None:
        super().adapt_stage(stage, video, workdir, bundle, options, context)
        if stage == self.stage and self.then is not None:
            then, self.then = self.then, None  # type: ignore[assignment]
            then(workdir)


class Bench:
    """A database, a store and one identity to make."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = load_settings(data_dir=folder / "data", max_attempts=2)
        self.database = Database(self.settings.database)
        self.database.migrate()
        self.store = LocalStore(self.settings.objects_dir)
        self.identity = new_id("idt")
        source = folder / "clip"
        source.write_text("steps=2")
        with self.database.write() as session:
            tenant = create_tenant(session, "one")
            upload = Upload(
                id=new_id("upl"),
                tenant_id=tenant,
                state="complete",
                filename="clip.mp4",
                content_type="video/mp4",
                size=7,
                sha256=hashlib.sha256(b"steps=2").hexdigest(),
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

    def run(self, pipeline: TinyPipeline, owner: str = "first") -> None:
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


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.database.close()


@pytest.mark.parametrize("stage", ["face", "package"])
def test_an_overtaken_attempt_publishes_nothing_and_leaves_no_object(bench: Bench, stage: str) -> None:
    bench.run(Interrupted(stage, bench.overtake))
    number = 2 if stage == "package" else 1
    assert bench.bundles() == [f"a{number}"]
    assert str(bench.row().bundle_key).endswith(f"/a{number}/avatar.likeness")
    with bench.database.read() as session:
        assert session.get_one(Job, bench.job).state == "succeeded"
        outcomes = session.execute(
            select(Attempt.owner, Attempt.outcome)
            .join(StageRun, StageRun.id == Attempt.stage_run_id)
            .where(StageRun.stage == stage)
            .order_by(Attempt.number)
        ).all()
    assert [tuple(row) for row in outcomes] == [(outcomes[0].owner, "lost"), ("second", "succeeded")]


def test_an_overtaken_attempt_does_not_share_its_folder(bench: Bench) -> None:
    seen: list[list[str]] = []

    def overtake(_: Path) -> None:
        bench.overtake(_)
        seen.append(sorted(path.name for path in bench.settings.work_dir.iterdir()))

    bench.run(Interrupted("face", overtake))
    # The second attempt worked beside the first one's folder, which is still as it was.
    assert seen == [[bench.job, f"{bench.job}.a2"]]
    sweep_all(bench.settings, bench.database)
    assert list(bench.settings.work_dir.iterdir()) == []


def test_the_bundle_of_an_identity_that_was_deleted_meanwhile_is_removed(bench: Bench) -> None:
    def delete(_: Path) -> None:
        with bench.database.write() as session:
            session.execute(update(Identity).values(deleted_at=database_now()))

    bench.run(Interrupted("package", delete))
    assert bench.bundles() == []
    assert bench.row().bundle_key is None


def test_a_job_of_another_machine_is_taken_up_without_its_work_folder(bench: Bench) -> None:
    """Its earlier stages are made again."""
    import shutil

    bench.run(Interrupted("mouth", lambda workdir: shutil.rmtree(workdir.parent)))
    assert bench.bundles() == ["a1"]
    assert not list(bench.settings.work_dir.iterdir())
