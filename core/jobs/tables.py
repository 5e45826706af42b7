"""The tables of the platform. The database carries the invariants: known states, one live stage for each job.

Times are seconds since 1970 by the database's clock (see `clock.py`). Every row that a tenant owns names the tenant.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.jobs.clock import database_now
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.states import JobState, StageState

_ID = String(48)
_SERIAL = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that a migration can drop what another made."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own class attribute
        float: Double(),
        dict[str, Any]: JSON(),
        dict[str, str]: JSON(),
        list[str]: JSON(),
        list[dict[str, Any]]: JSON(),
    }


class Tenant(Base):
    """Who owns rows: an account."""

    __tablename__ = "tenant"
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float] = mapped_column(default=database_now())


class Upload(Base):
    """A file that a tenant announced (size and sha256), sent, and confirmed."""

    __tablename__ = "upload"
    __table_args__ = (
        CheckConstraint("state IN ('awaiting', 'complete', 'expired')", name="state"),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("(part_upload IS NULL) = (part_bytes IS NULL)", name="parts"),
        Index("ix_upload_tenant_id_id", "tenant_id", "id"),
        Index("ix_upload_state", "state"),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    state: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    object_key: Mapped[str] = mapped_column(String(512))
    part_upload: Mapped[str | None] = mapped_column(String(300))
    """The store's id of an upload in parts; null where the file comes whole."""
    part_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes of each part but the last."""
    created_at: Mapped[float] = mapped_column(default=database_now())
    completed_at: Mapped[float | None]
    removed_at: Mapped[float | None]
    """Since then its bytes are gone: what it was for has been deleted."""


class Job(Base):
    """One piece of work for a tenant: a row of stages, run in order."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(_one_of("state", JobState), name="state"),
        CheckConstraint(_one_of("kind", JobKind), name="kind"),
        Index("ix_job_tenant_id_id", "tenant_id", "id"),
        Index("ix_job_state", "state"),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(_ID, index=True)
    """The identity or render that the job makes."""
    state: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(default=0)
    """Higher runs earlier."""
    inputs: Mapped[dict[str, Any]]
    """What the stages need to know: object keys and options."""
    origin: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    """The request that asked for it and its trace (`core.telemetry`): the workers' logs and spans continue it."""
    awaiting_upload_id: Mapped[str | None] = mapped_column(ForeignKey("upload.id"), index=True)
    awaiting_consent_id: Mapped[str | None] = mapped_column(_ID, index=True)
    """A consent that was not verified when the job was made. No foreign key: consents have a room of their own."""
    deadline_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=database_now())
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_hint: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None] = mapped_column(Boolean)


class StageRun(Base):
    """One stage of a job. `attempt` is the fencing token: every write of a worker names the attempt it belongs to."""

    __tablename__ = "stage_run"
    __table_args__ = (
        CheckConstraint(_one_of("state", StageState), name="state"),
        CheckConstraint(_one_of("queue", QUEUES), name="queue"),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
        CheckConstraint("attempt BETWEEN 0 AND max_attempts", name="attempt"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="owner"),
        CheckConstraint("segment BETWEEN 0 AND segments - 1", name="segment"),
        UniqueConstraint("job_id", "position", "segment"),
        Index(
            "uq_stage_run_live",
            "job_id",
            "segment",
            unique=True,
            sqlite_where=text("state IN ('queued', 'running')"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_stage_run_state_queue", "state", "queue"),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    position: Mapped[int]
    segment: Mapped[int] = mapped_column(default=0)
    """Which part of the stage this is, 0 ... segments - 1: parts of one stage run at the same time."""
    segments: Mapped[int] = mapped_column(default=1)
    stage: Mapped[str] = mapped_column(String(32))
    queue: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[float | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the last attempt left to go on from: the object's `key`, `size` and `sha256`."""
    output: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the stage made: the object's `key`, `size`, `sha256`, and what was `measured`."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    available_at: Mapped[float] = mapped_column(default=database_now())
    """Not claimed before: later than `queued_at` where a failed attempt is repeated after a pause."""
    queued_at: Mapped[float] = mapped_column(default=database_now())
    hinted_at: Mapped[float] = mapped_column(default=database_now())
    """When the last message about this stage was written to the outbox."""
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class Attempt(Base):
    """The history of a stage: who tried, when, and how it ended."""

    __tablename__ = "attempt"
    __table_args__ = (
        CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'rejected', 'cancelled', 'expired', 'lost', 'released')", name="outcome"
        ),
        CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ended"),
        Index("ix_attempt_ended_at", "ended_at"),
    )
    stage_run_id: Mapped[str] = mapped_column(ForeignKey("stage_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(200))
    resumed_from: Mapped[float]
    """Progress, 0..1, that the stage had when this attempt took it over."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))


class StageResult(Base):
    """What a stage made, under the hash of everything that went into it: the same work is not done twice.

    A tenant's results are its own: another tenant's equal clip finds nothing here.
    """

    __tablename__ = "stage_result"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    input_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), index=True)
    """The job that made it."""
    stage: Mapped[str] = mapped_column(String(32))
    output: Mapped[dict[str, Any]]
    """As in `StageRun.output`."""
    created_at: Mapped[float] = mapped_column(default=database_now(), index=True)


class Event(Base):
    """What happened, in order; what a stream of events reads."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_job_id_id", "job_id", "id"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(_SERIAL, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    at: Mapped[float] = mapped_column(default=database_now())


class Outbox(Base):
    """Messages that the same transaction as their cause wrote; the relay sends them. A message carries no state."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_unsent",
            "available_at",
            sqlite_where=text("sent_at IS NULL"),
            postgresql_where=text("sent_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(_SERIAL, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(32))
    """The queue to wake up."""
    payload: Mapped[dict[str, Any]]
    tries: Mapped[int] = mapped_column(default=0)
    available_at: Mapped[float] = mapped_column(default=database_now())
    sent_at: Mapped[float | None]


class Identity(Base):
    """A person's avatar: made by an `adapt` job, published by pointing at its bundle."""

    __tablename__ = "identity"
    __table_args__ = (Index("ix_identity_tenant_id_id", "tenant_id", "id"),)
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str] = mapped_column(String(200))
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    profile: Mapped[str] = mapped_column(String(16))
    umf: Mapped[str] = mapped_column(String(100))
    consent_id: Mapped[str] = mapped_column(_ID, index=True)
    tags: Mapped[dict[str, str]]
    """The tenant's own marks."""
    bundle_key: Mapped[str | None] = mapped_column(String(512))
    bundle_size: Mapped[int | None] = mapped_column(BigInteger)
    bundle_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[float] = mapped_column(default=database_now())
    deleted_at: Mapped[float | None]
    """A tombstone: the row stays, the artefacts are gone."""
    deleted_because: Mapped[str | None] = mapped_column(String(64))


class Umf(Base):
    """A universal motion field that a tenant trains: made by a `pretrain` job, published by pointing at its file."""

    __tablename__ = "umf"
    __table_args__ = (
        Index("ix_umf_tenant_id_id", "tenant_id", "id"),
        Index(
            "uq_umf_name",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str] = mapped_column(String(100))
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    object_key: Mapped[str | None] = mapped_column(String(512))
    object_size: Mapped[int | None] = mapped_column(BigInteger)
    object_sha256: Mapped[str | None] = mapped_column(String(64))
    card: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the field says of itself."""
    created_at: Mapped[float] = mapped_column(default=database_now())
    deleted_at: Mapped[float | None]


class RenderBatch(Base):
    """Many renders asked for at once."""

    __tablename__ = "render_batch"
    __table_args__ = (Index("ix_render_batch_tenant_id_id", "tenant_id", "id"),)
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    items: Mapped[list[dict[str, Any]]]
    """For each item that was asked for: its render, or why it was refused."""
    created_at: Mapped[float] = mapped_column(default=database_now())


class Render(Base):
    """One video of an identity speaking: made by a `render` job, published by pointing at its output."""

    __tablename__ = "render"
    __table_args__ = (Index("ix_render_tenant_id_id", "tenant_id", "id"),)
    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    identity_id: Mapped[str] = mapped_column(ForeignKey("identity.id"), index=True)
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("render_batch.id"), index=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    options: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, str]]
    output_key: Mapped[str | None] = mapped_column(String(512))
    output_size: Mapped[int | None] = mapped_column(BigInteger)
    output_sha256: Mapped[str | None] = mapped_column(String(64))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the renderer measured: frames, seconds, frames per second."""
    created_at: Mapped[float] = mapped_column(default=database_now())


class Idempotency(Base):
    """The answer to a POST that creates, kept for a day under the key that the caller chose."""

    __tablename__ = "idempotency"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(default=database_now())
