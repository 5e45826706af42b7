"""What a stage made is found by whoever needs it: another machine, another job with the same clip, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from core.accounts.keys import create_tenant
from core.jobs.clock import database_now
from core.jobs.kinds import QUEUES
from core.jobs.tables import Event, Identity, Job, StageResult
from core.jobs.view import view_job
from core.progress import StageContext
from tests.workers.bench import Bench
from tests.workers.running_platform import all_steps, steps
from tests.workers.tiny_worker import TinyPipeline
from workers.background import sweep_all
from workers.pipeline import Made, Task

REPORT = {"verdict": "usable", "warnings": []}


class Reporting(TinyPipeline):
    """Says of every clip what preprocessing says of a good one."""

    def run(self, task: Task, context: StageContext) -> Made:
        made = super().run(task, context)
        return Made({"report": REPORT}) if task.stage == "preprocess" else made


class Counting(TinyPipeline):
    """Notes what was really run."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, task: Task, context: StageContext) -> Made:
        self.ran.append(task.stage)
        return super().run(task, context)


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path, b"steps=3")
    yield made
    made.database.close()


def fetched(bench: Bench, identity: str) -> list[str]:
    key = bench.row(identity).bundle_key
    assert key is not None
    bench.store.fetch(key, bench.folder / "fetched.likeness")
    return steps(bench.folder / "fetched.likeness")


def test_each_stage_on_another_machine(bench: Bench) -> None:
    machines = [bench.folder / f"machine-{number}" for number in range(6)]
    pipeline = Counting()
    for machine in machines:
        assert bench.runner(pipeline, data_dir=machine).run_next(QUEUES)
    assert pipeline.ran == ["intake", "preprocess", "adapt-face", "adapt-mouth", "fuse", "package"]
    assert fetched(bench, bench.identity) == all_steps(3, 3)


def test_a_result_that_is_gone_is_made_again(bench: Bench) -> None:
    first, second = Counting(), Counting()
    for _ in range(4):
        bench.runner(first).run_next(QUEUES)
    for key in bench.objects():
        if key.endswith("files.tar"):
            bench.store.delete(key)
    bench.run(second, data_dir=bench.folder / "elsewhere")
    assert sorted(set(second.ran)) == ["adapt-face", "adapt-mouth", "fuse", "intake", "package", "preprocess"]
    assert bench.job_row().state == "succeeded"
    assert fetched(bench, bench.identity) == all_steps(3, 3)


def test_a_stage_that_was_cut_off_goes_on_elsewhere_from_its_checkpoint(bench: Bench) -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 2

    bench.run(TinyPipeline())  # the first identity, out of the way
    identity, job = bench.add_identity(b"steps=1 face=41 pause=0.05")
    for _ in range(2):
        bench.runner(TinyPipeline()).run_next(QUEUES)
    bench.runner(TinyPipeline(), stop_requested=stop, heartbeat_seconds=0.1).run_next(QUEUES)
    face = bench.stages(job)[-1]
    assert (face.stage, face.state) == ("adapt-face", "queued")
    assert face.checkpoint is not None
    assert face.checkpoint["key"] in bench.objects()

    bench.run(TinyPipeline(), "second", data_dir=bench.folder / "elsewhere")
    made = fetched(bench, identity)
    assert made == all_steps(1, 41)
    assert bench.orphans() == set()
    assert not any("checkpoint" in key for key in bench.objects())


def test_the_same_clip_with_the_same_options_is_not_computed_twice(bench: Bench) -> None:
    bench.run(Counting())
    twin, job = bench.add_identity(b"steps=3")
    pipeline = Counting()
    bench.run(pipeline)
    assert pipeline.ran == []
    assert bench.job_row(job).state == "succeeded"
    with bench.database.read() as session:
        ends = select(Event.data).where(Event.job_id == job, Event.type == "stage.succeeded")
        assert all(data["reused"] for data in session.scalars(ends))
    # It has a bundle of its own: the first identity can be deleted without it.
    assert bench.row(twin).bundle_key != bench.row().bundle_key
    bench.store.delete(str(bench.row().bundle_key))
    assert fetched(bench, twin) == all_steps(3, 3)


def report_of(bench: Bench, job_id: str) -> Any:
    with bench.database.read() as session:
        return view_job(session, session.get_one(Job, job_id)).report


def test_the_report_on_a_clip_is_kept_with_every_job_that_uses_it(bench: Bench) -> None:
    bench.run(Reporting())
    assert report_of(bench, bench.row().job_id) == REPORT
    _, twin = bench.add_identity(b"steps=3")
    bench.run(TinyPipeline())
    assert report_of(bench, twin) == REPORT
    with bench.database.write() as session:  # as the sweep does after a while: the last result alone is left
        session.execute(delete(StageResult).where(StageResult.stage != "package"))
    _, third = bench.add_identity(b"steps=3")
    pipeline = Counting()
    bench.run(pipeline)
    assert (pipeline.ran, report_of(bench, third)) == ([], REPORT)


def test_other_options_share_what_they_do_not_change(bench: Bench) -> None:
    bench.run(Counting())
    bench.add_identity(b"steps=3", umf="none")
    pipeline = Counting()
    bench.run(pipeline)
    assert pipeline.ran == ["adapt-face", "adapt-mouth", "fuse", "package"]


def test_another_tenant_finds_nothing(bench: Bench) -> None:
    bench.run(Counting())
    with bench.database.write() as session:
        other = create_tenant(session, "two")
    bench.add_identity(b"steps=3", tenant=other)
    pipeline = Counting()
    bench.run(pipeline)
    assert len(pipeline.ran) == 6


def test_what_nobody_needs_any_more_is_swept(bench: Bench) -> None:
    bench.run(TinyPipeline())
    _, waiting = bench.add_identity(b"steps=4")
    bench.runner(TinyPipeline()).run_next(QUEUES)
    with bench.database.write() as session:
        session.execute(update(StageResult).values(created_at=database_now() - 2 * bench.settings.keep_results_seconds))
    sweep_all(bench.settings, bench.database, bench.store)
    (left,) = (key for key in bench.objects() if key.endswith("files.tar"))
    assert waiting in left, "a live job's result was swept"
    assert bench.bundles() == ["a1"]
    bench.run(TinyPipeline())
    assert bench.job_row(waiting).state == "succeeded"


def test_a_deleted_identity_leaves_no_result(bench: Bench) -> None:
    bench.run(TinyPipeline())
    with bench.database.write() as session:
        session.execute(update(Identity).values(deleted_at=database_now()))
    sweep_all(bench.settings, bench.database, bench.store)
    assert not any(key.endswith("files.tar") for key in bench.objects())
    bench.add_identity(b"steps=3")
    pipeline = Counting()
    bench.run(pipeline)
    assert len(pipeline.ran) == 6
