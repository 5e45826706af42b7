"""Claims, leases, fencing and the reaper, on a real database file."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update

from core.accounts.keys import create_tenant
from core.jobs import claims, lease, lifecycle
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.events import read_after
from core.jobs.identifiers import new_id
from core.jobs.kinds import QUEUES, STAGES, JobKind
from core.jobs.lease import Claim, Directive, LeaseLostError
from core.jobs.outbox import relay_once
from core.jobs.reaper import reap, reap_owner
from core.jobs.states import JOB_TRANSITIONS, JobState
from core.jobs.steps import JobError
from core.jobs.tables import Job, Outbox, StageRun
from tests.core.jobs.job_steps import ATTEMPTS, LEASE, attempts, claim, job, let_leases_end, stages, submit

BROKEN = JobError("broken", "It broke.", "Mend it.")


def test_a_job_runs_its_stages_in_order_and_publishes_once(database: Database) -> None:
    job_id = submit(database)
    published = []
    names = []
    for _ in STAGES[JobKind.ADAPT]:
        mine = claim(database)
        names.append(mine.stage)
        lease.finish(database, mine, ATTEMPTS, lambda _: published.append(1))
    assert names == ["intake", "preprocess", "adapt-face", "adapt-mouth", "fuse", "package"]
    assert job(database, job_id).state == "succeeded"
    assert published == [1]
    assert claims.claim_next(database, QUEUES, "worker-1", LEASE) is None


def test_of_many_workers_one_gets_the_stage(database: Database) -> None:
    submit(database)
    found: list[Claim | None] = []
    start = threading.Barrier(8)

    def contend(name: str) -> None:
        start.wait()
        found.append(claims.claim_next(database, QUEUES, name, LEASE))

    threads = [threading.Thread(target=contend, args=(f"worker-{index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert sum(one is not None for one in found) == 1


def test_a_worker_only_gets_stages_of_its_queues(database: Database) -> None:
    submit(database)
    assert claims.claim_next(database, ["render"], "worker-1", LEASE) is None
    assert claims.claim_next(database, ["cpu"], "worker-1", LEASE) is not None


def test_the_tenant_with_less_running_then_priority_then_age(database: Database) -> None:
    with database.write() as session:
        other = create_tenant(session, "second")
    busy, waiting = submit(database), submit(database)
    of_other = submit(database, tenant_id=other)
    urgent = submit(database, priority=5)
    order = [claim(database).job_id for _ in range(4)]
    assert order[0] == urgent
    assert order[1] == of_other  # the first tenant has one running already, whatever its priorities
    assert order[2:] == [busy, waiting]


def test_the_attempt_that_lost_its_lease_changes_nothing(database: Database) -> None:
    job_id = submit(database)
    frozen = claim(database, "frozen")
    let_leases_end(database)
    assert reap(database, 60).requeued == 1
    current = claim(database, "current")
    assert current.attempt == frozen.attempt + 1

    assert lease.heartbeat(database, frozen, LEASE, 0.9) is Directive.LOST
    for write in (
        lambda: lease.finish(database, frozen, ATTEMPTS),
        lambda: lease.fail(database, frozen, BROKEN),
        lambda: lease.stop(database, frozen, Directive.CANCEL),
        lambda: lease.release(database, frozen),
        lambda: lease.save_checkpoint(database, frozen, {"folder": "theirs"}),
    ):
        with pytest.raises(LeaseLostError):
            write()
    (stage,) = stages(database, job_id)
    assert (stage.state, stage.attempt, stage.lease_owner, stage.progress) == ("running", 2, "current", 0.0)
    assert [attempt.outcome for attempt in attempts(database, stage.id)] == ["lost", None]


def test_a_heartbeat_renews_the_lease_and_carries_progress(database: Database) -> None:
    job_id = submit(database)
    mine = claim(database)
    let_leases_end(database)
    assert lease.heartbeat(database, mine, LEASE, 0.5, announce=True) is Directive.CONTINUE
    assert not reap(database, 60)
    (stage,) = stages(database, job_id)
    assert stage.progress == 0.5
    with database.read() as session:
        last = read_after(session, job_id, 0)[-1]
    assert (last.type, last.data["stage_progress"], last.data["progress"]) == ("job.progress", 0.5, 0.025)


def test_the_next_attempt_knows_where_the_last_one_stopped(database: Database) -> None:
    submit(database)
    first = claim(database)
    lease.save_checkpoint(database, first, {"folder": "job_1"})
    lease.heartbeat(database, first, LEASE, 0.4)
    let_leases_end(database)
    reap(database, 60)
    second = claim(database)
    assert (second.resumed_from, second.checkpoint) == (0.4, {"folder": "job_1"})


def test_a_stage_that_kills_its_workers_is_a_dead_letter(database: Database) -> None:
    job_id = submit(database)
    for _ in range(ATTEMPTS):
        claim(database)
        let_leases_end(database)
        reap(database, 60)
    assert claims.claim_next(database, QUEUES, "worker-1", LEASE) is None
    dead = job(database, job_id)
    assert (dead.state, dead.error_code, dead.error_retryable) == ("failed", "attempts_exhausted", True)
    (stage,) = stages(database, job_id)
    assert [attempt.outcome for attempt in attempts(database, stage.id)] == ["lost"] * ATTEMPTS


def test_leases_of_a_dead_worker_are_taken_at_once_and_others_kept(database: Database) -> None:
    submit(database), submit(database)
    claim(database, "serve-a:1")
    kept = claim(database, "serve-ab:2")
    assert reap_owner(database, "serve-a:").requeued == 1
    assert lease.heartbeat(database, kept, LEASE, 0.1) is Directive.CONTINUE


def test_handing_back_does_not_use_up_an_attempt(database: Database) -> None:
    job_id = submit(database)
    for _ in range(ATTEMPTS + 2):
        lease.release(database, claim(database))
    (stage,) = stages(database, job_id)
    assert stage.state == "queued"
    assert stage.max_attempts - stage.attempt == ATTEMPTS


def test_cancelling_a_waiting_job_ends_it_and_a_running_one_is_told(database: Database) -> None:
    waiting = submit(database)
    with database.write() as session:
        lifecycle.cancel(session, waiting)
    assert job(database, waiting).state == "cancelled"
    assert claims.claim_next(database, QUEUES, "worker-1", LEASE) is None

    running = submit(database)
    mine = claim(database)
    with database.write() as session:
        lifecycle.cancel(session, running)
        lifecycle.cancel(session, running)  # twice is the same as once
    assert job(database, running).state == "running"
    assert lease.heartbeat(database, mine, LEASE, 0.1) is Directive.CANCEL
    lease.stop(database, mine, Directive.CANCEL)
    assert job(database, running).state == "cancelled"


def test_a_job_whose_worker_died_after_the_cancel_ends_cancelled(database: Database) -> None:
    job_id = submit(database)
    claim(database)
    with database.write() as session:
        lifecycle.cancel(session, job_id)
    let_leases_end(database)
    assert reap(database, 60).ended == 1
    assert job(database, job_id).state == "cancelled"


def test_a_cancel_between_two_stages_stops_the_job(database: Database) -> None:
    job_id = submit(database)
    mine = claim(database)
    with database.write() as session:
        lifecycle.cancel(session, job_id)
    lease.finish(database, mine, ATTEMPTS)
    assert job(database, job_id).state == "cancelled"
    assert len(stages(database, job_id)) == 1


def test_retry_goes_on_at_the_stage_that_failed(database: Database) -> None:
    job_id = submit(database)
    lease.finish(database, claim(database), ATTEMPTS)
    lease.fail(database, claim(database), BROKEN)
    assert job(database, job_id).error_code == "broken"
    with database.write() as session:
        lifecycle.retry(session, job_id, ATTEMPTS)
    assert job(database, job_id).error_code is None
    again = claim(database)
    assert (again.stage, again.attempt, again.max_attempts) == ("preprocess", 2, 1 + ATTEMPTS)


def test_rejected_and_finished_jobs_can_not_be_retried(database: Database) -> None:
    job_id = submit(database)
    lease.fail(database, claim(database), BROKEN, rejected=True)
    assert job(database, job_id).state == "rejected"
    with database.write() as session, pytest.raises(lifecycle.JobConflictError) as refused:
        lifecycle.retry(session, job_id, ATTEMPTS)
    assert refused.value.code == "job_not_retryable"


def test_a_deadline_ends_a_waiting_job_and_tells_a_running_one(database: Database) -> None:
    waiting, running = submit(database, deadline_s=100.0), submit(database, deadline_s=100.0, priority=1)
    mine = claim(database)
    with database.write() as session:
        session.execute(update(Job).values(deadline_at=database_now() - 1))
    assert reap(database, 60).ended == 1
    assert job(database, waiting).state == "expired"
    assert lease.heartbeat(database, mine, LEASE, 0.1) is Directive.EXPIRE
    lease.stop(database, mine, Directive.EXPIRE)
    assert job(database, running).state == "expired"


def test_the_database_refuses_a_state_it_does_not_know(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    submit(database)
    for statement in (
        update(Job).values(state="done"),
        update(StageRun).values(state="running"),  # without a lease
        update(StageRun).values(progress=1.5),
    ):
        with pytest.raises(IntegrityError), database.write() as session:
            session.execute(statement)


def test_a_message_is_written_with_its_cause_and_sent_once(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        tenant = create_tenant(session, "gone")
        lifecycle.submit(session, tenant_id=tenant, kind=JobKind.RENDER, subject_id="rnd_0", inputs={}, max_attempts=1)
        raise ZeroDivisionError
    sent: list[tuple[str, str]] = []
    assert relay_once(database, lambda queue, stage: sent.append((queue, stage))) == 0

    job_id = submit(database)
    relay_once(database, lambda queue, stage: sent.append((queue, stage)))
    relay_once(database, lambda queue, stage: sent.append((queue, stage)))
    assert sent == [("cpu", stages(database, job_id)[0].id)]


def test_a_message_that_could_not_be_sent_is_sent_later(database: Database) -> None:
    submit(database)

    def away(queue: str, stage: str) -> None:
        raise ConnectionError("no broker")

    assert relay_once(database, away) == 0
    with database.write() as session:
        row = session.scalars(select(Outbox)).one()
        assert (row.tries, row.sent_at) == (1, None)
        session.execute(update(Outbox).values(available_at=database_now()))
    assert relay_once(database, lambda *_: None) == 1


def test_a_lost_message_is_written_again(database: Database) -> None:
    submit(database)
    relay_once(database, lambda *_: None)
    assert reap(database, rehint_seconds=60).hinted == 0
    with database.write() as session:
        session.execute(update(StageRun).values(hinted_at=database_now() - 61))
    assert reap(database, rehint_seconds=60).hinted == 1
    assert reap(database, rehint_seconds=60).hinted == 0
    assert relay_once(database, lambda *_: None) == 1


def claim_stage(database: Database, stage: str) -> Claim:
    """Claim and finish until this stage is claimed."""
    while (mine := claim(database)).stage != stage:
        lease.finish(database, mine, ATTEMPTS, output={"fan_out": 3} if mine.stage == "speech" else {})
    return mine


def test_segments_run_together_and_the_last_one_to_end_queues_what_follows(database: Database) -> None:
    job_id = submit(database, JobKind.RENDER)
    first = claim_stage(database, "synthesise")
    parts = [first, claim(database), claim(database)]
    assert [(part.segment, part.segments) for part in parts] == [(0, 3), (1, 3), (2, 3)]
    assert claims.claim_next(database, QUEUES, "worker-1", LEASE) is None
    for part in reversed(parts[1:]):
        lease.finish(database, part, ATTEMPTS, output={"key": str(part.segment)})
        assert job(database, job_id).state == "running"
    lease.heartbeat(database, first, LEASE, 0.5, announce=True)
    with database.read() as session:
        assert read_after(session, job_id, 0)[-1].data["stage_progress"] == pytest.approx(2.5 / 3, abs=1e-3)
    lease.finish(database, first, ATTEMPTS, output={"key": "0"})
    mux = claim(database)
    assert mux.stage == "mux"
    assert {key: output["key"] for key, output in mux.outputs.items() if key[0] == "synthesise"} == {
        ("synthesise", 0): "0",
        ("synthesise", 1): "1",
        ("synthesise", 2): "2",
    }


def test_a_segment_that_fails_ends_the_others_and_a_retry_repeats_only_what_is_missing(database: Database) -> None:
    job_id = submit(database, JobKind.RENDER)
    first = claim_stage(database, "synthesise")
    second = claim(database)
    lease.finish(database, first, ATTEMPTS, output={"key": "0"})
    third = claim(database)
    lease.fail(database, second, BROKEN)
    assert job(database, job_id).state == "failed"
    assert lease.heartbeat(database, third, LEASE, 0.5) is Directive.LOST
    states = [(run.segment, run.state) for run in stages(database, job_id) if run.stage == "synthesise"]
    assert states == [(0, "succeeded"), (1, "failed"), (2, "cancelled")]
    with database.write() as session:
        lifecycle.retry(session, job_id, ATTEMPTS)
    assert [claim(database).segment for _ in range(2)] == [1, 2]


def test_a_job_with_a_segment_handed_back_runs_as_long_as_another_one_does(database: Database) -> None:
    job_id = submit(database, JobKind.RENDER)
    first = claim_stage(database, "synthesise")
    second, third = claim(database), claim(database)
    for handed_back in (second, third):
        lease.release(database, handed_back)
        assert job(database, job_id).state == "running"
    lease.release(database, first)
    assert job(database, job_id).state == "queued"


def test_a_passing_failure_is_tried_again_after_a_pause_and_then_is_final(database: Database) -> None:
    job_id = submit(database)
    lease.fail_attempt(database, claim(database), BROKEN, pause_seconds=30.0)
    (stage,) = stages(database, job_id)
    assert (stage.state, stage.error_code) == ("queued", "broken")
    assert claims.claim_next(database, QUEUES, "worker-1", LEASE) is None
    for _ in range(ATTEMPTS - 1):
        with database.write() as session:
            session.execute(update(StageRun).values(available_at=database_now()))
        lease.fail_attempt(database, claim(database), BROKEN, pause_seconds=30.0)
    assert (job(database, job_id).state, job(database, job_id).error_code) == ("failed", "broken")
    assert [attempt.outcome for attempt in attempts(database, stage.id)] == ["failed"] * ATTEMPTS


def test_the_database_refuses_a_transition_that_is_not_in_the_table(database: Database) -> None:
    """An UPDATE goes only where `JOB_TRANSITIONS` does: the trigger knows no more and no less."""
    from sqlalchemy.exc import DBAPIError

    with database.read() as session:
        like = session.get_one(Job, submit(database))
    for start in JobState:
        for target in JobState:
            made = Job(id=new_id("job"), tenant_id=like.tenant_id, kind="adapt", subject_id="s", state=start, inputs={})
            with database.write() as session:
                session.add(made)
            move = update(Job).where(Job.id == made.id).values(state=target)
            if target is start or target in JOB_TRANSITIONS[start]:
                with database.write() as session:
                    session.execute(move)
            else:
                with pytest.raises(DBAPIError, match="no such transition"), database.write() as session:
                    session.execute(move)
