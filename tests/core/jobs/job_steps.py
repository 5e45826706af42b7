"""What the tests of jobs do to them, in their words."""

from __future__ import annotations

from sqlalchemy import select, update

from core.jobs import claims, lifecycle
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.lease import Claim
from core.jobs.tables import Attempt, Job, StageRun, Tenant

LEASE = 60.0
ATTEMPTS = 3


def submit(database: Database, kind: JobKind = JobKind.ADAPT, **options: object) -> str:
    with database.write() as session:
        tenant = options.pop("tenant_id", None) or session.scalars(select(Tenant.id).order_by(Tenant.id)).first()
        job = lifecycle.submit(
            session,
            tenant_id=str(tenant),
            kind=kind,
            subject_id="idt_0",
            inputs={"options": {}},
            max_attempts=ATTEMPTS,
            **options,  # type: ignore[arg-type]
        )
        return job.id


def claim(database: Database, owner: str = "worker-1") -> Claim:
    found = claims.claim_next(database, QUEUES, owner, LEASE)
    assert found is not None
    return found


def let_leases_end(database: Database) -> None:
    with database.write() as session:
        ended = update(StageRun).where(StageRun.lease_until.is_not(None)).values(lease_until=database_now() - 1)
        session.execute(ended)


def job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return session.get_one(Job, job_id)


def stages(database: Database, job_id: str) -> list[StageRun]:
    with database.read() as session:
        return list(session.scalars(select(StageRun).where(StageRun.job_id == job_id).order_by(StageRun.position)))


def attempts(database: Database, stage_run_id: str) -> list[Attempt]:
    with database.read() as session:
        mine = select(Attempt).where(Attempt.stage_run_id == stage_run_id).order_by(Attempt.number)
        return list(session.scalars(mine))
