"""The universal motion fields on offer: `none`, the shipped ones, the operator's, and the tenant's own."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path, PurePosixPath

from sqlalchemy import select, update
from sqlalchemy.orm import Session

import core
from api.deps import Platform
from api.inputs import input_file
from api.jobs.schemas import describe as describe_job
from api.problems import ApiError, NotFoundError
from api.umfs.schemas import UmfCreate, UmfCreated, UmfOut
from api.uploads.service import find as find_upload
from core.accounts.quotas import check_jobs
from core.jobs import lifecycle
from core.jobs.clock import database_now
from core.jobs.identifiers import new_id
from core.jobs.kinds import JobKind
from core.jobs.states import JobState
from core.jobs.steps import changed
from core.jobs.tables import Job, Umf
from core.jobs.view import view_job

SHIPPED = Path(str(core.__file__)).parent / "learn" / "umfs"
"""Looked at as a folder: the room that reads these files needs torch."""
NONE = "none"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_STEM = re.compile(r"[^A-Za-z0-9_-]")
_MAX_OWN = 500


def umf_files(platform: Platform) -> dict[str, Path]:
    """Name -> file of those that every tenant may use, sorted by name. The operator's own wins over a shipped one."""
    folders = (SHIPPED, platform.settings.umf_dir)
    found = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    return {path.stem: path for path in found if _NAME.fullmatch(path.stem) and path.stem != NONE}


def umf_inputs(session: Session, platform: Platform, tenant: str, name: str) -> tuple[str, dict[str, str] | None]:
    """What the stages are told: the field as `core.learn` knows it, and its object where it is the tenant's own.

    Raises:
        ApiError: `umf_unknown`, `umf_not_ready`.
    """
    if name == NONE:
        return name, None
    path = umf_files(platform).get(name)
    if path is not None:
        return (name if path.parent == SHIPPED else str(path)), None
    mine = (Umf.tenant_id == tenant, Umf.name == name, Umf.deleted_at.is_(None))
    own = session.scalar(select(Umf).where(*mine))
    if own is None:
        raise ApiError("umf_unknown", "There is no universal motion field of this name.", "GET /v1/umfs lists them.")
    if own.object_key is None:
        raise ApiError("umf_not_ready", "The motion field is not trained yet.", "Wait until its job has succeeded.")
    return name, {"key": own.object_key, "name": f"{name}.safetensors", "sha256": own.object_sha256 or ""}


def create(session: Session, platform: Platform, tenant: str, body: UmfCreate) -> UmfCreated:
    """Add a field and the job that trains it.

    Raises:
        ApiError: `umf_name_taken`, `upload_incomplete`.
        NotFoundError: no such upload.
        TooManyJobsError: `too_many_jobs`.
    """
    own = select(Umf.id).where(Umf.tenant_id == tenant, Umf.name == body.name, Umf.deleted_at.is_(None))
    if body.name == NONE or body.name in umf_files(platform) or session.scalar(own) is not None:
        raise ApiError("umf_name_taken", "There is a motion field of this name.", "Choose another name.")
    check_jobs(session, platform.settings, tenant)
    umf_id = new_id("umf")
    job = lifecycle.submit(
        session,
        tenant_id=tenant,
        kind=JobKind.PRETRAIN,
        subject_id=umf_id,
        inputs={
            "corpus": _corpus(session, tenant, body.uploads),
            "options": {"iterations": body.iterations, "seed": body.seed},
        },
        max_attempts=platform.settings.max_attempts,
        priority=body.priority,
        deadline_s=body.deadline_s,
    )
    umf = Umf(id=umf_id, tenant_id=tenant, name=body.name, job_id=job.id)
    session.add(umf)
    session.flush()
    session.refresh(job)
    return UmfCreated(umf=describe(umf, job), job=describe_job(view_job(session, job)))


def list_all(session: Session, platform: Platform, tenant: str) -> list[UmfOut]:
    """What the tenant may name, sorted by where it comes from and by name."""
    files = [
        _of_file(name, "shipped" if path.parent == SHIPPED else "operator", path.stat().st_size)
        for name, path in umf_files(platform).items()
    ]
    mine = select(Umf, Job).join(Job, Job.id == Umf.job_id).where(Umf.tenant_id == tenant, Umf.deleted_at.is_(None))
    own = [describe(umf, job) for umf, job in session.execute(mine.order_by(Umf.name).limit(_MAX_OWN))]
    return [_of_file(NONE, "none", 0), *files, *own]


def find(session: Session, tenant: str, umf_id: str) -> Umf:
    """The tenant's own field.

    Raises:
        NotFoundError: no such field, deleted, or not this tenant's.
    """
    mine = (Umf.id == umf_id, Umf.tenant_id == tenant, Umf.deleted_at.is_(None))
    umf = session.scalar(select(Umf).where(*mine))
    if umf is None:
        raise NotFoundError("motion field")
    return umf


def delete(session: Session, tenant: str, umf_id: str) -> list[str]:
    """Delete a field: its job stops. Returns the keys of the objects to remove after commit."""
    umf = find(session, tenant, umf_id)
    with contextlib.suppress(lifecycle.JobConflictError):
        lifecycle.cancel(session, umf.job_id)
    session.refresh(umf)
    key = umf.object_key
    gone = update(Umf).where(Umf.id == umf_id)
    changed(session, gone.values(deleted_at=database_now(), object_key=None))
    return [key] if key is not None else []


def describe(umf: Umf, job: Job) -> UmfOut:
    """A field of a tenant as the API shows it."""
    return UmfOut(
        name=umf.name,
        source="tenant",
        size=umf.object_size or 0,
        id=umf.id,
        state="ready" if job.state == JobState.SUCCEEDED else job.state,
        job=umf.job_id,
        card=umf.card,
    )


def _of_file(name: str, source: str, size: int) -> UmfOut:
    told = {"name": name, "source": source, "size": size, "id": None, "state": "ready", "job": None, "card": None}
    return UmfOut.model_validate(told)


def _corpus(session: Session, tenant: str, uploads: list[str]) -> list[dict[str, str]]:
    """The clips, each under a file name of its own: what the corpus reader tells people apart by."""
    corpus, taken = [], set()
    for number, upload_id in enumerate(dict.fromkeys(uploads)):
        upload = find_upload(session, tenant, upload_id)
        if upload.state != "complete":
            raise ApiError("upload_incomplete", "Not all clips are here yet.", "PUT their bytes, and complete them.")
        stem = _STEM.sub("-", PurePosixPath(upload.filename).stem)[:80] or "clip"
        if stem in taken:
            stem = f"{stem}-{number}"
        taken.add(stem)
        corpus.append(input_file(upload, stem))
    return corpus
