"""Several workers, and what may happen to them: each job ends once, and leaves no object that nothing points at."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from core.jobs.outbox import relay_once
from core.jobs.tables import Attempt, Event, Outbox, StageRun
from tests.workers.bench import Bench
from tests.workers.fleet import ROOT, TINY, Fleet, running_fleet, wait_until, worker_environment
from tests.workers.running_platform import TIMINGS, all_steps, steps
from workers.app import CeleryPublisher

LONG = b"steps=1 face=40 pause=0.05"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, LONG)
    made.settings = made.settings.model_copy(update={**TIMINGS, "checkpoint_seconds": 0.5, "retry_seconds": 0.1})
    yield made
    made.database.close()


@contextmanager
def fleet_of(bench: Bench, *names: str) -> Iterator[Fleet]:
    with running_fleet(bench.settings, bench.database, TINY, names) as fleet:
        yield fleet


def attempts(bench: Bench, job: str, stage: str) -> list[Attempt]:
    with bench.database.read() as session:
        rows = select(Attempt).join(StageRun, StageRun.id == Attempt.stage_run_id)
        mine = rows.where(StageRun.job_id == job, StageRun.stage == stage).order_by(Attempt.number)
        return list(session.scalars(mine))


def face_has_moved(bench: Bench, job: str) -> bool:
    face = [run for run in bench.stages(job) if run.stage == "adapt-face"]
    return bool(face) and face[0].progress > 0.2


def check_done_once(bench: Bench, identity: str, job: str, expected: list[str], doubles: int) -> None:
    """The job succeeded, once; its bundle has every step, few of them twice; the store holds nothing else."""
    wait_until(lambda: bench.job_row(job).finished_at is not None, f"{job} to end")
    assert bench.job_row(job).state == "succeeded", bench.job_row(job).error_code
    with bench.database.read() as session:
        kinds = Counter(session.scalars(select(Event.type).where(Event.job_id == job)))
    assert kinds["job.succeeded"] == 1
    bench.store.fetch(str(bench.row(identity).bundle_key), bench.folder / "made.likeness")
    counted = Counter(steps(bench.folder / "made.likeness"))
    assert set(counted) == set(expected)
    assert counted.total() - len(counted) <= doubles
    wait_until(lambda: not bench.orphans(), f"no orphan: {bench.orphans()}", 20)


def test_a_worker_frozen_past_its_lease_is_fenced_when_it_thaws(bench: Bench) -> None:
    with fleet_of(bench, "one") as fleet:
        wait_until(lambda: face_has_moved(bench, bench.job), "the face stage to move")
        (frozen,) = (process for process in fleet.workers[0].children() if "tiny_worker" in str(process.cmdline()))
        frozen.suspend()
        fleet.start("two")
        wait_until(lambda: bench.job_row().finished_at is not None, "the other worker to finish")
        frozen.resume()
        wait_until(lambda: "fenced" in fleet.log(), "the thawed worker to be fenced")
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=20)
    outcomes = [attempt.outcome for attempt in attempts(bench, bench.job, "adapt-face")]
    assert outcomes == ["lost", "succeeded"]


def test_a_worker_whose_clock_is_two_hours_off_keeps_and_takes_leases_like_any_other(bench: Bench) -> None:
    with running_fleet(bench.settings, bench.database, TINY, ()) as fleet:
        fleet.start("late", TINY_WORKER_CLOCK_BACK="7200")
        fleet.start("early", TINY_WORKER_CLOCK_BACK="-7200")
        others = [bench.add_identity(LONG + b" name=%d" % number) for number in range(2)]
        for identity, job in ((bench.identity, bench.job), *others):
            check_done_once(bench, identity, job, all_steps(1, 40), doubles=0)
    for _, job in ((bench.identity, bench.job), *others):
        assert [attempt.outcome for attempt in attempts(bench, job, "adapt-face")] == ["succeeded"]


def test_messages_delivered_many_times_start_each_stage_once(bench: Bench) -> None:
    publish = CeleryPublisher(bench.settings)
    with fleet_of(bench, "one", "two"):
        wait_until(lambda: face_has_moved(bench, bench.job), "the face stage to move")
        for stage_run in bench.stages(bench.job) * 5:
            publish(stage_run.queue, stage_run.id)
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=0)
    with bench.database.read() as session:
        assert set(session.scalars(select(Attempt.number))) == {1}


def test_kill_9_of_the_relay(bench: Bench) -> None:
    """It dies between sending and writing down that it has sent: the message comes twice, the stage runs once."""
    program = (
        "import os, signal, sys\n"
        "from core.jobs.database import Database\n"
        "from core.jobs.outbox import relay_once\n"
        "from core.settings import load_settings\n"
        "from workers.app import CeleryPublisher\n"
        "settings = load_settings()\n"
        "send = CeleryPublisher(settings)\n"
        "def send_and_die(queue, stage):\n"
        "    send(queue, stage)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "relay_once(Database(settings.database), send_and_die)\n"
    )
    died = subprocess.run([sys.executable, "-c", program], env=worker_environment(bench.settings), cwd=ROOT, timeout=60)
    assert died.returncode == -signal.SIGKILL
    with bench.database.read() as session:
        assert session.scalars(select(Outbox.sent_at)).all() == [None]
    sent: list[str] = []
    assert relay_once(bench.database, lambda _, stage: sent.append(stage)) == 1
    with fleet_of(bench, "one"):
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=0)
    assert [attempt.outcome for attempt in attempts(bench, bench.job, "intake")] == ["succeeded"]


def test_kill_9_of_one_worker_of_two_while_a_speech_is_rendered_in_segments(bench: Bench) -> None:
    with fleet_of(bench, "one", "two") as fleet:
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=0)
        _, job = bench.add_render(b"steps=20 pause=0.05 segments=4")
        wait_until(lambda: sum(run.state == "running" for run in bench.stages(job)) == 2, "two segments at once")
        fleet.kill(fleet.workers[0])
        wait_until(lambda: bench.job_row(job).finished_at is not None, "the render to end")
    assert bench.job_row(job).state == "succeeded"
    parts = [run for run in bench.stages(job) if run.stage == "synthesise"]
    assert [(run.segment, run.state) for run in parts] == [(number, "succeeded") for number in range(4)]
    assert any(run.attempt == 2 for run in parts)
    key = str(bench.stages(job)[-1].output["key"])  # type: ignore[index]
    bench.store.fetch(key, bench.folder / "video.mp4")
    assert (bench.folder / "video.mp4").read_text().endswith("in 4 segments")
    assert bench.orphans() == set()


def test_a_stage_that_takes_too_much_memory_ends_with_its_own_code_and_its_neighbour_is_unhurt(bench: Bench) -> None:
    # A long lease: a machine that is busy with other things lets a short one run out.
    bench.settings = bench.settings.model_copy(update={"worker_memory_mb": 400, "lease_seconds": 30.0})
    _, greedy = bench.add_identity(b"hold=600")
    with fleet_of(bench, "one"):
        wait_until(lambda: bench.job_row(greedy).finished_at is not None, "the greedy job to end")
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=20)
    dead = bench.job_row(greedy)
    assert (dead.state, dead.error_code, dead.error_retryable) == ("failed", "out_of_memory", True)
    assert [attempt.outcome for attempt in attempts(bench, greedy, "intake")] == ["failed", "failed"]


def test_a_stage_that_does_not_hear_is_handed_back_when_its_worker_stops(bench: Bench) -> None:
    """As in native code: the worker does not wait for it for ever."""
    bench.settings = bench.settings.model_copy(update={"worker_stop_seconds": 1.0, "lease_seconds": 60.0})
    _, deaf = bench.add_identity(b"steps=1 deaf=120")
    with running_fleet(bench.settings, bench.database, TINY, ("one",), restart=False) as fleet:

        def asleep() -> bool:
            return any(run.stage == "adapt-face" and run.state == "running" for run in bench.stages(deaf))

        wait_until(asleep, "the deaf stage to begin")
        fleet.workers[0].process.send_signal(signal.SIGTERM)
        wait_until(lambda: [a.outcome for a in attempts(bench, deaf, "adapt-face")] == ["released"], "the hand-back")
        fleet.workers[0].process.wait(timeout=30)


def test_a_worker_whose_idle_process_is_killed_gives_itself_up_rather_than_hear_nothing(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"worker_silent_seconds": 3.0})
    with fleet_of(bench, "one") as fleet:
        wait_until(lambda: bench.job_row().finished_at is not None, "the first job to end")
        for process in fleet.workers[0].children():
            process.kill()
        identity, job = bench.add_identity(b"steps=2")
        check_done_once(bench, identity, job, all_steps(2, 2), doubles=0)
        assert fleet.workers[0].starts > 1


def test_the_process_that_starts_others_never_loads_torch() -> None:
    """So that CUDA works in those that it forks, and they share no torch thread."""
    code = "import sys, cli.worker, workers.app, workers.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_a_worker_that_claims_is_well_and_one_that_lets_work_wait_is_not(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"worker_silent_seconds": 1.5})
    command = [sys.executable, "-m", "cli.worker", "--check"]

    def check(name: str) -> int:
        environment = {**worker_environment(bench.settings), "LIKENESS_WORKER_NAME": name}
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=60).returncode

    with fleet_of(bench, "one") as fleet:
        wait_until(lambda: face_has_moved(bench, bench.job), "the face stage to move")
        assert check("one") == 0
        check_done_once(bench, bench.identity, bench.job, all_steps(1, 40), doubles=0)
        wait_until(lambda: check("one") == 0, "an idle worker is well")
        for process in (psutil.Process(fleet.workers[0].process.pid), *fleet.workers[0].children()):
            process.suspend()
        _, waiting = bench.add_identity(b"steps=1")
        wait_until(lambda: check("one") != 0, "the frozen worker to be found out")
        assert bench.job_row(waiting).state == "queued"
