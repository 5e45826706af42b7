"""The metrics count what is there: waiting stages and how long, lost leases, dead letters, messages nobody sent."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import update

from core.jobs import lease
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import QUEUES
from core.jobs.outbox import relay_once
from core.jobs.reaper import reap
from core.jobs.steps import JobError
from core.jobs.tables import Attempt, Outbox, StageRun
from core.telemetry import statistics
from core.telemetry.collectors import PlatformCollector, WorkerCollector
from tests.core.jobs.job_steps import ATTEMPTS, claim, let_leases_end, submit

PASSING = JobError("disk_full", "full", "free some", retryable=False)


def earlier(database: Database, table: type, column: str, seconds: float) -> None:
    with database.write() as session:
        session.execute(update(table).values({column: database_now() - seconds}))


def platform(database: Database) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PlatformCollector(database))
    return registry


def test_an_empty_platform_shows_zeros_so_that_alerts_can_see_it(database: Database) -> None:
    shown = platform(database)
    for queue in QUEUES:
        assert shown.get_sample_value("likeness_stages", {"queue": queue, "state": "queued"}) == 0
        assert shown.get_sample_value("likeness_queue_oldest_seconds", {"queue": queue}) == 0
    assert shown.get_sample_value("likeness_dead_letters") == 0
    assert shown.get_sample_value("likeness_outbox_lag_seconds") == 0
    assert shown.get_sample_value("likeness_webhook_deliveries", {"state": "failed"}) == 0


def test_waiting_stages_have_a_count_and_an_age(database: Database) -> None:
    for _ in range(3):
        submit(database)
    earlier(database, StageRun, "queued_at", 100.0)
    claim(database)
    shown = platform(database)
    assert shown.get_sample_value("likeness_stages", {"queue": "cpu", "state": "queued"}) == 2
    assert shown.get_sample_value("likeness_stages", {"queue": "cpu", "state": "running"}) == 1
    assert shown.get_sample_value("likeness_queue_oldest_seconds", {"queue": "cpu"}) == pytest.approx(100, abs=30)
    assert shown.get_sample_value("likeness_jobs", {"kind": "adapt", "state": "queued"}) == 2


def test_a_job_that_kills_its_workers_is_a_dead_letter_with_its_lost_leases(database: Database) -> None:
    submit(database)
    for _ in range(ATTEMPTS):
        claim(database)
        let_leases_end(database)
        reap(database, rehint_seconds=60)
    shown = platform(database)
    assert shown.get_sample_value("likeness_dead_letters") == 1
    lost = {"stage": "intake", "outcome": "lost"}
    assert shown.get_sample_value("likeness_stage_seconds_count", lost) == ATTEMPTS


def test_the_histogram_has_each_attempt_in_its_bucket(database: Database) -> None:
    for seconds in (0.5, 10.0, 1e6):
        submit(database)
        lease.fail(database, claim(database), PASSING)
        with database.write() as session:
            fresh = update(Attempt).where(Attempt.started_at > 0, Attempt.ended_at - Attempt.started_at < 0.4)
            session.execute(fresh.values(started_at=Attempt.ended_at - seconds))
    shown = platform(database)
    of = {"stage": "intake", "outcome": "failed"}
    counts = [
        shown.get_sample_value("likeness_stage_seconds_bucket", {**of, "le": le}) for le in ("1.0", "15.0", "+Inf")
    ]
    assert counts == [1, 2, 3]
    assert shown.get_sample_value("likeness_stage_seconds_sum", of) == pytest.approx(1e6 + 10.5, abs=1)


def test_a_worker_shows_its_own_work_only(database: Database) -> None:
    submit(database)
    submit(database)
    lease.fail(database, claim(database, owner="worker-a:1"), PASSING)
    claim(database, owner="worker-b:1")
    registry = CollectorRegistry()
    registry.register(WorkerCollector(database, "worker-b:"))
    assert registry.get_sample_value("likeness_worker_running") == 1
    failed = {"stage": "intake", "outcome": "failed"}
    assert registry.get_sample_value("likeness_worker_stage_seconds_count", failed) is None


def test_messages_that_nobody_tried_to_send_are_left_undone(database: Database) -> None:
    submit(database)

    def left() -> int:
        with database.read() as session:
            return statistics.left_undone(session)

    assert left() == 0, "a relay may take a second"
    earlier(database, Outbox, "available_at", 300.0)
    assert left() == 1
    shown = platform(database)
    assert shown.get_sample_value("likeness_outbox_unsent") == 1
    assert shown.get_sample_value("likeness_outbox_lag_seconds") == pytest.approx(300, abs=30)

    def broker_away(queue: str, stage_run_id: str) -> None:
        raise ConnectionError

    relay_once(database, broker_away)
    earlier(database, Outbox, "available_at", 300.0)
    assert left() == 0, "the relay tries: to restart it would not help"


def test_stages_of_dead_workers_that_nobody_took_back_are_left_undone(database: Database) -> None:
    submit(database)
    claim(database)
    with database.write() as session:
        session.execute(update(StageRun).values(lease_until=database_now() - 300))
    with database.read() as session:
        assert statistics.left_undone(session) == 1
