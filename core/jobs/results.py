"""Results of stages by the hash of what went into them, and when they and checkpoints may go.

A result's object belongs to its row here: stages of several jobs may point at it. The last stage's result belongs to
the identity, render or field that was published with it; its row here only says where it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.states import JOB_FINISHED, JobState
from core.jobs.tables import Identity, Job, Render, StageResult, StageRun

BATCH = 200


def input_hash(code: str, stage: str, segment: int, inputs: dict[str, str], options: dict[str, Any]) -> str:
    """The name of a stage's result.

    Args:
        code: version of the code that makes it.
        stage: its name.
        segment: which part of it.
        inputs: name -> sha256 of the job's inputs.
        options: as JSON, those alone that can change the result.
    """
    described = {"code": code, "stage": stage, "segment": segment, "inputs": inputs, "options": options}
    return hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find_result(session: Session, tenant_id: str, hashes: Sequence[str]) -> StageResult | None:
    """The tenant's first result, in the order of `hashes`, that is there."""
    mine = select(StageResult).where(StageResult.tenant_id == tenant_id, StageResult.input_hash.in_(hashes))
    found = {result.input_hash: result for result in session.scalars(mine)}
    return next((found[one] for one in hashes if one in found), None)


def keep_result(
    session: Session, tenant_id: str, job_id: str, stage: str, name: str, output: dict[str, Any]
) -> dict[str, Any]:
    """Keep a stage's output under its hash. Returns the output that is kept now: an equal one may have been first."""
    row = StageResult(tenant_id=tenant_id, input_hash=name, job_id=job_id, stage=stage, output=output)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        known = session.get_one(StageResult, (tenant_id, name), populate_existing=True)
        return known.output
    return output


def forget_result(session: Session, tenant_id: str, name: str) -> None:
    """Its object is gone."""
    session.execute(delete(StageResult).where(StageResult.tenant_id == tenant_id, StageResult.input_hash == name))


def expire_results(database: Database, keep_seconds: float) -> tuple[str, ...]:
    """Forget results that are old, or of people whose identity was deleted. Returns the keys of objects to delete.

    Results of a job that is not done are kept: its later stages read them.
    """
    finals = tuple(stages[-1].name for stages in STAGES.values())
    old = and_(StageResult.created_at < database_now() - keep_seconds, StageResult.stage.not_in(finals))
    with database.write() as session:
        rows = session.scalars(
            select(StageResult)
            .join(Job, Job.id == StageResult.job_id)
            .where(Job.state.in_(JOB_FINISHED), or_(old, _subject_deleted()))
            .limit(BATCH)
        ).all()
        needed = _keys_of_live_jobs(session, [str(row.output["key"]) for row in rows if row.output.get("key")])
        gone = [row for row in rows if row.output.get("key") not in needed]
        for row in gone:
            session.delete(row)
        return tuple(str(row.output["key"]) for row in gone if row.stage not in finals and row.output.get("key"))


def expire_checkpoints(database: Database, keep_seconds: float) -> tuple[str, ...]:
    """Forget checkpoints of jobs that ended well, or some time ago. Returns the keys of objects to delete."""
    ended = or_(
        Job.state.in_((JobState.SUCCEEDED, JobState.REJECTED)),
        and_(Job.state.in_(JOB_FINISHED), or_(Job.finished_at < database_now() - keep_seconds, _subject_deleted())),
    )
    with database.write() as session:
        rows = session.scalars(
            select(StageRun).join(Job, Job.id == StageRun.job_id).where(StageRun.checkpoint.is_not(None), ended)
        ).all()
        keys = tuple(str((row.checkpoint or {})["key"]) for row in rows)
        for row in rows:
            session.execute(update(StageRun).where(StageRun.id == row.id).values(checkpoint=None))
        return keys


def _subject_deleted() -> ColumnElement[bool]:
    """The job was for an identity that is deleted, or for a render of one."""
    gone = select(Identity.id).where(Identity.deleted_at.is_not(None))
    return or_(
        Job.subject_id.in_(gone),
        and_(
            Job.kind == JobKind.RENDER,
            Job.subject_id.in_(select(Render.id).where(Render.identity_id.in_(gone))),
        ),
    )


def _keys_of_live_jobs(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of the keys that stages of unfinished jobs point at."""
    if not keys:
        return set()
    live = select(StageRun.output).join(Job, Job.id == StageRun.job_id).where(Job.state.not_in(JOB_FINISHED))
    return {str(output["key"]) for output in session.scalars(live) if output and output.get("key") in keys}
