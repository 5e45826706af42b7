"""The wrapper around a stage, in this process: what becomes of files when an attempt is overtaken or unwanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core.jobs.clock import database_now
from core.jobs.tables import Attempt, Identity, Job, StageRun
from core.progress import StageContext
from tests.workers.bench import Bench
from tests.workers.tiny_worker import TinyPipeline
from workers.background import sweep_all
from workers.pipeline import Made, Task


class Interrupted(TinyPipeline):
    """Something happens, once, when a stage has done its work but not said so yet."""

    def __init__(self, stage: str, then: Callable[[Path], None]) -> None:
        self.stage, self.then = stage, then

    def run(self, task: Task, context: StageContext) -> Made:
        made = super().run(task, context)
        if task.stage == self.stage and self.then is not None:
            then, self.then = self.then, None  # type: ignore[assignment]
            then(task.workdir)
        return made


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.database.close()


@pytest.mark.parametrize("stage", ["adapt-face", "package"])
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

    bench.run(Interrupted("adapt-face", overtake))
    # The second attempt worked beside the first one's folder, which is still as it was.
    assert seen == [[bench.job, f"{bench.job}.a2"]]
    sweep_all(bench.settings, bench.database, bench.store)
    assert list(bench.settings.work_dir.iterdir()) == []


def test_the_bundle_of_an_identity_that_was_deleted_meanwhile_is_removed(bench: Bench) -> None:
    def delete(_: Path) -> None:
        with bench.database.write() as session:
            session.execute(update(Identity).values(deleted_at=database_now()))

    bench.run(Interrupted("package", delete))
    assert bench.bundles() == []
    assert bench.row().bundle_key is None
