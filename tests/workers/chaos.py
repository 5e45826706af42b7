"""`python -m tests.workers.chaos`: many small identity jobs, real stages, and workers that are killed all the time.

At the end the database and the store say how many jobs were done, lost, or done twice. The LIKENESS_* settings choose
where: files of this machine, or servers (`likeness stack`). See docs/platform.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from core.accounts.keys import create_tenant
from core.jobs import lifecycle
from core.jobs.database import Database
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JOB_LIVE
from core.jobs.storage_sweep import referenced_keys
from core.jobs.tables import Attempt, Event, Identity, Job, StageRun, Upload
from core.sample import generate_sample
from core.settings import Settings, load_settings
from core.storage import ObjectMissingError, ObjectStore, open_store
from tests.workers.fleet import Fleet, running_fleet, suppressed

SMALL = [sys.executable, str(Path(__file__).with_name("small_worker.py")), "cpu,train,render"]
SECONDS, STEP_S = 3.0, 0.12
TELL_SECONDS = 30.0
QUICK = {"lease_seconds": 10.0, "heartbeat_seconds": 1.0, "rehint_seconds": 5.0, "max_attempts": 30}
"""Unless the environment says otherwise: a lost lease is noticed soon, and no kill makes a dead letter."""


@dataclass(frozen=True)
class Submitted:
    """What the run put in."""

    tenant: str
    identities: list[str]
    jobs: list[str]


def submit(database: Database, store: ObjectStore, clip: Path, count: int, parts: int, attempts: int) -> Submitted:
    """`count` identities of `parts` different stretches of one clip; each has a seed of its own.

    Jobs of one stretch may share what intake and preprocess made; everything after it is each one's own.
    """
    data = clip.read_bytes()
    with database.write() as session:
        tenant = create_tenant(session, "chaos")
    upload = Upload(
        id=new_id("upl"),
        tenant_id=tenant,
        state="complete",
        filename="clip.mp4",
        content_type="video/mp4",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        object_key=f"{tenant}/uploads/{new_id('obj')}",
    )
    store.put(upload.object_key, clip)
    with database.write() as session:
        session.add(upload)
    submitted = Submitted(tenant, [], [])
    video = {"key": upload.object_key, "name": "video.mp4", "sha256": upload.sha256}
    for number in range(count):
        start = round(STEP_S * (number % parts), 2)
        options = {"profile": "tiny", "umf": "none", "seconds": SECONDS, "start_s": start, "seed": number}
        identity = new_id("idt")
        with database.write() as session:
            job = lifecycle.submit(
                session,
                tenant_id=tenant,
                kind=JobKind.ADAPT,
                subject_id=identity,
                inputs={"video": video, "options": options},
                max_attempts=attempts,
            )
            session.add(
                Identity(
                    id=identity,
                    tenant_id=tenant,
                    name=f"chaos {number}",
                    upload_id=upload.id,
                    job_id=job.id,
                    profile="tiny",
                    umf="none",
                    consent_id="cns_chaos",
                    tags={},
                )
            )
        submitted.identities.append(identity)
        submitted.jobs.append(job.id)
    return submitted


class Killer:
    """Kills, from a thread, a process of a worker's (an ffmpeg too) or a whole worker, at random moments."""

    def __init__(self, fleet: Fleet, mean_seconds: float, seed: int) -> None:
        self._fleet = fleet
        self._mean = mean_seconds
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._random.expovariate(1 / self._mean)):
            worker = self._random.choice(self._fleet.workers)
            pool = worker.children()
            if pool and self._random.random() < 0.5:
                with suppressed():
                    self._random.choice(pool).kill()
                    self.kills["process"] += 1
            elif psutil.pid_exists(worker.process.pid):
                with suppressed():
                    self._fleet.kill(worker)
                    self.kills["worker"] += 1


def live_jobs(database: Database, tenant: str) -> int:
    with database.read() as session:
        live = select(func.count()).where(Job.tenant_id == tenant, Job.state.in_([str(state) for state in JOB_LIVE]))
        return session.scalar(live) or 0


def verdict(database: Database, store: ObjectStore, submitted: Submitted) -> dict[str, Any]:
    """What the database and the store say, each object read and hashed again."""
    with database.read() as session:
        jobs = session.scalars(select(Job).where(Job.tenant_id == submitted.tenant)).all()
        identities = session.scalars(select(Identity).where(Identity.tenant_id == submitted.tenant)).all()
        mine = Event.tenant_id == submitted.tenant
        ends = Counter(session.scalars(select(Event.job_id).where(mine, Event.type == "job.succeeded")))
        parts = select(StageRun.id).where(StageRun.tenant_id == submitted.tenant)
        outcomes = Counter(session.scalars(select(Attempt.outcome).where(Attempt.stage_run_id.in_(parts))))
        ended_well = select(Attempt.stage_run_id).where(Attempt.stage_run_id.in_(parts), Attempt.outcome == "succeeded")
        doubled = [run for run, times in Counter(session.scalars(ended_well)).items() if times > 1]
    whole = 0
    for identity in identities:
        try:
            stored = store.verify(str(identity.bundle_key)) if identity.bundle_key else None
        except ObjectMissingError:
            stored = None
        whole += stored is not None and stored.sha256 == identity.bundle_sha256
    objects = [found.key for found in store.objects(f"{submitted.tenant}/")]
    known = set(referenced_keys(database))
    states = Counter(job.state for job in jobs)
    twice = sum(times > 1 for times in ends.values()) + len(doubled)
    lost = len(submitted.jobs) - states["succeeded"]
    return {
        "jobs": len(submitted.jobs),
        "done": states["succeeded"],
        "lost": lost,
        "done_twice": twice,
        "states": dict(states),
        "bundles_whole": whole,
        "bundles_in_store": sum(key.endswith("avatar.likeness") for key in objects),
        "objects_that_nothing_points_at": sorted(set(objects) - known),
        "attempts": {str(outcome): times for outcome, times in outcomes.items()},
        "good": lost == 0 and twice == 0 and whole == len(submitted.jobs) and not set(objects) - known,
    }


def quick_settings(data: Path | None) -> Settings:
    """The environment's settings, with the defaults of this run where it is silent."""
    asked = load_settings()
    quick = {name: value for name, value in QUICK.items() if name not in asked.model_fields_set}
    return load_settings(**quick, **({"data_dir": data} if data is not None else {}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=5.0, help="mean seconds between kills; 0: none")
    parser.add_argument("--parts", type=int, default=20, help="different stretches of the clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=2.0, help="give up after so long")
    parser.add_argument("--data", type=Path, help="data folder (LIKENESS_DATA_DIR; a temporary one)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="likeness-chaos-") as scratch:
        settings = quick_settings(asked.data or Path(scratch) / "data")
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        database, store = Database(settings.database), open_store(settings)
        database.migrate()
        clip = generate_sample(settings.data_dir / "sample", seconds=SECONDS + STEP_S * asked.parts + 1.0, size=256)
        submitted = submit(database, store, clip.video, asked.jobs, asked.parts, settings.max_attempts)
        names = [f"chaos-{number}" for number in range(asked.workers)]
        began = time.monotonic()
        with running_fleet(settings, database, SMALL, names) as fleet:
            killer = Killer(fleet, asked.kill_every or float("inf"), asked.seed)
            with killer:
                told_at = 0.0
                while (left := live_jobs(database, submitted.tenant)) and time.monotonic() - began < asked.hours * 3600:
                    if time.monotonic() - told_at > TELL_SECONDS:
                        told_at = time.monotonic()
                        sys.stderr.write(f"{told_at - began:.0f} s: {left} jobs left, kills {dict(killer.kills)}\n")
                    time.sleep(0.5)
            time.sleep(settings.lease_seconds / 5)  # the last attempt tidies up after its end is written
        told = verdict(database, store, submitted)
        told |= {"seconds": round(time.monotonic() - began), "kills": dict(killer.kills)}
        told |= {"workers": asked.workers, "database": database.engine.dialect.name}
        database.close()
    print(json.dumps(told, indent=2))
    return 0 if told["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
