"""What people see of a job: how far, how long still, and who comes before."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.accounts.keys import create_tenant
from core.jobs import lease
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.tables import Attempt, Job, StageRun
from core.jobs.view import JobView, view_job, view_jobs
from tests.core.jobs.job_steps import ATTEMPTS, LEASE, claim, submit


def view(database: Database, job_id: str) -> JobView:
    with database.read() as session:
        return view_job(session, session.get_one(Job, job_id))


def finish_a_job(database: Database, seconds: float) -> None:
    """One adaptation whose stages took so long each."""
    submit(database)
    for _ in STAGES[JobKind.ADAPT]:
        lease.finish(database, claim(database), ATTEMPTS, output={})
    with database.write() as session:
        session.execute(update(Attempt).values(ended_at=Attempt.started_at + seconds))


def test_the_position_is_that_of_the_claims_order(database: Database) -> None:
    with database.write() as session:
        other = create_tenant(session, "second")
    jobs = [submit(database) for _ in range(3)]
    urgent = submit(database, priority=3)
    assert [view(database, job).queue_position for job in (*jobs, urgent)] == [1, 2, 3, 0]
    assert claim(database).job_id == urgent
    late = submit(database, tenant_id=other)
    assert view(database, late).queue_position == 0  # its tenant has nothing running
    assert view(database, jobs[0]).queue_position == 1
    assert view(database, urgent).queue_position is None


def test_the_time_left_comes_from_what_stages_took_of_late(database: Database) -> None:
    finish_a_job(database, 10.0)
    first, second = submit(database), submit(database)
    assert view(database, first).eta_s == pytest.approx(60.0)
    assert view(database, second).eta_s == pytest.approx(70.0)
    mine = claim(database)
    lease.heartbeat(database, mine, LEASE, 0.5)
    assert view(database, first).eta_s == pytest.approx(55.0)


def test_without_any_history_a_job_is_judged_by_its_own_pace(database: Database) -> None:
    job_id = submit(database)
    assert view(database, job_id).eta_s is None
    mine = claim(database)
    lease.heartbeat(database, mine, LEASE, 0.8)
    with database.write() as session:
        session.execute(update(StageRun).values(started_at=database_now() - 4.0))
    # 0.8 of the first stage, which is a twentieth of the job, took four seconds.
    assert view(database, job_id).eta_s == pytest.approx(4.0 * 0.96 / 0.04, rel=0.05)


def test_progress_counts_all_segments(database: Database) -> None:
    job_id = submit(database, JobKind.RENDER)
    lease.finish(database, claim(database), ATTEMPTS, output={"fan_out": 4})
    lease.finish(database, claim(database), ATTEMPTS, output={})
    lease.heartbeat(database, claim(database), LEASE, 0.5)
    assert view(database, job_id).progress == pytest.approx(0.10 + 0.85 * 1.5 / 4)


def test_the_report_on_the_clip_is_shown_once_a_stage_has_said_it(database: Database) -> None:
    job_id, said = submit(database), {"verdict": "usable", "warnings": []}
    lease.finish(database, claim(database), ATTEMPTS, output={"measured": {}})
    assert view(database, job_id).report is None
    lease.finish(database, claim(database), ATTEMPTS, output={"measured": {"report": said}})
    assert view(database, job_id).report == said
    with database.read() as session:
        (listed,) = view_jobs(session, [session.get_one(Job, job_id)])
    assert listed.report is None, "lists stay short"
