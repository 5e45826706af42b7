"""Random histories of jobs on a real database: whatever happens in whatever order, the invariants hold."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from core.jobs import claims, lease, lifecycle
from core.jobs.database import Database
from core.jobs.kinds import QUEUES, STAGES, JobKind
from core.jobs.lease import Claim, Directive, LeaseLostError
from core.jobs.reaper import reap
from core.jobs.states import JOB_FINISHED, JOB_TRANSITIONS, JobState
from core.jobs.steps import JobError
from core.jobs.tables import Attempt, Job, Outbox, StageRun
from tests.core.jobs.job_steps import ATTEMPTS, LEASE, let_leases_end, submit

SEGMENTS = 3
ENDS = ("finish", "finish", "fail", "pass", "reject", "release", "stop", "beat")


def all_parts(kind: JobKind) -> Iterator[tuple[str, int]]:
    for stage in STAGES[kind]:
        for segment in range(SEGMENTS if stage.name == "synthesise" else 1):
            yield stage.name, segment


def machine(template: Path) -> type[RuleBasedStateMachine]:
    class Histories(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp())
            shutil.copyfile(template, self.folder / "jobs.sqlite3")
            self.database = Database(f"sqlite:///{self.folder / 'jobs.sqlite3'}")
            self.jobs: list[str] = []
            self.claims: list[Claim] = []
            self.published: Counter[str] = Counter()
            self.seen: dict[str, JobState] = {}

        def teardown(self) -> None:
            self.database.close()
            shutil.rmtree(self.folder)

        @precondition(lambda self: len(self.jobs) < 4)
        @rule(kind=st.sampled_from(JobKind))
        def submit(self, kind: JobKind) -> None:
            self.jobs.append(submit(self.database, kind))

        @rule()
        def claim(self) -> None:
            found = claims.claim_next(self.database, QUEUES, "worker", LEASE)
            if found is not None:
                self.claims.append(found)

        @precondition(lambda self: self.claims)
        @rule(
            data=st.data(),
            how=st.sampled_from(["finish", "finish", "fail", "pass", "reject", "release", "stop", "beat"]),
        )
        def write_with_some_claim(self, data: st.DataObject, how: str) -> None:
            claim = data.draw(st.sampled_from(self.claims[-4:]))
            current = self.is_current(claim)
            before = None if current else self.rows()
            try:
                self.write(claim, how)
            except LeaseLostError:
                assert not current
            if not current:
                assert self.rows() == before, "a fenced attempt changed something"

        def write(self, claim: Claim, how: str) -> None:
            error = JobError("broken", "It broke.")
            if how == "finish":
                output = {"fan_out": SEGMENTS} if claim.stage == "speech" else {}
                publish = partial(self.publish, claim.job_id)
                lease.finish(self.database, claim, ATTEMPTS, publish, output=output)
            elif how == "fail":
                lease.fail(self.database, claim, error)
            elif how == "pass":
                lease.fail_attempt(self.database, claim, error, pause_seconds=0.0)
            elif how == "reject":
                lease.fail(self.database, claim, error, rejected=True)
            elif how == "release":
                lease.release(self.database, claim)
            elif how == "stop":
                lease.stop(self.database, claim, Directive.CANCEL)
            else:
                lease.heartbeat(self.database, claim, LEASE, 0.5)

        def publish(self, job_id: str, _: object) -> None:
            self.published.update([job_id])

        @rule()
        def workers_die(self) -> None:
            let_leases_end(self.database)
            reap(self.database, 60)

        @rule()
        def another_worker_takes_over(self) -> None:
            self.workers_die()
            self.claim()

        @precondition(lambda self: self.jobs)
        @rule(data=st.data(), how=st.sampled_from(["cancel", "retry"]))
        def ask(self, data: st.DataObject, how: str) -> None:
            job_id = data.draw(st.sampled_from(self.jobs))
            try:
                with self.database.write() as session:
                    if how == "cancel":
                        lifecycle.cancel(session, job_id)
                    else:
                        lifecycle.retry(session, job_id, ATTEMPTS)
            except lifecycle.JobConflictError:
                pass

        def is_current(self, claim: Claim) -> bool:
            with self.database.read() as session:
                stage = session.get_one(StageRun, claim.stage_run_id)
                return stage.state == "running" and stage.attempt == claim.attempt

        def rows(self) -> list[object]:
            with self.database.read() as session:
                tables = (Job, StageRun, Attempt, Outbox)
                return [tuple(row) for table in tables for row in session.execute(select(*table.__table__.columns))]

        @invariant()
        def the_rows_agree(self) -> None:
            with self.database.read() as session:
                jobs = session.scalars(select(Job)).all()
                stages = session.scalars(select(StageRun)).all()
                attempts = session.scalars(select(Attempt)).all()
            for job in jobs:
                state = JobState(job.state)
                before = self.seen.get(job.id, state)
                assert state == before or state in JOB_TRANSITIONS[before], (before, state)
                self.seen[job.id] = state
                self.check_job(job, [stage for stage in stages if stage.job_id == job.id])
            for stage in stages:
                history = [attempt for attempt in attempts if attempt.stage_run_id == stage.id]
                assert sorted(attempt.number for attempt in history) == list(range(1, stage.attempt + 1))
                opened = [attempt.number for attempt in history if attempt.ended_at is None]
                assert opened == ([stage.attempt] if stage.state == "running" else [])

        def check_job(self, job: Job, stages: list[StageRun]) -> None:
            live = [stage for stage in stages if stage.state in ("queued", "running")]
            assert bool(live) == (job.state not in JOB_FINISHED)
            if live:
                running = any(stage.state == "running" for stage in live)
                assert job.state == ("running" if running else "queued")
                assert {stage.position for stage in live} == {max(stage.position for stage in stages)}
            done = {(stage.stage, stage.segment) for stage in stages if stage.state == "succeeded"}
            good = job.state == JobState.SUCCEEDED
            assert self.published[job.id] == int(good)
            if good:
                assert done == set(all_parts(JobKind(job.kind)))

    return Histories


def test_random_histories_keep_the_invariants(migrated: Path) -> None:
    run_state_machine_as_test(
        machine(migrated),
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_every_state_can_be_reached_and_only_final_ones_end() -> None:
    reached = {JobState.QUEUED, JobState.AWAITING_UPLOAD}.union(*JOB_TRANSITIONS.values())
    assert reached == set(JobState)
    assert {state for state, targets in JOB_TRANSITIONS.items() if not targets} == {
        JobState.SUCCEEDED,
        JobState.REJECTED,
    }


@pytest.mark.parametrize("kind", JobKind)
def test_the_weights_of_a_kind_add_up(kind: JobKind) -> None:
    assert sum(stage.weight for stage in STAGES[kind]) == pytest.approx(1.0)
