"""Stages in segments, results by content, pre-training, waiting for a consent, and the state machine as a guard.

SQLite can't alter a check: there the two tables are made anew with their rows (`migrations/env.py` holds its foreign
keys off meanwhile). Jobs that were under way keep their place: their stages get the new names.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIVE = "state IN ('queued', 'running')"
KINDS = "'adapt', 'render'"
STATES = "'awaiting_upload', 'queued', 'running', 'succeeded', 'failed', 'rejected', 'cancelled', 'expired'"
WAITING_TOO = STATES.replace("'queued'", "'awaiting_consent', 'queued'")
ALLOWED = (
    ("awaiting_upload", "queued"),
    ("awaiting_upload", "awaiting_consent"),
    ("awaiting_upload", "cancelled"),
    ("awaiting_upload", "expired"),
    ("awaiting_consent", "queued"),
    ("awaiting_consent", "rejected"),
    ("awaiting_consent", "cancelled"),
    ("awaiting_consent", "expired"),
    ("queued", "running"),
    ("queued", "cancelled"),
    ("queued", "expired"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "rejected"),
    ("running", "cancelled"),
    ("running", "expired"),
    ("failed", "queued"),
    ("cancelled", "queued"),
    ("expired", "queued"),
)
"""From, to: what `core.jobs.states.JOB_TRANSITIONS` says."""


def upgrade() -> None:
    """Segments, results, fields of tenants, and the guard of the job's states."""
    _drop_indices()
    with op.batch_alter_table("job", copy_from=_job(KINDS, STATES)) as batch:
        batch.add_column(sa.Column("awaiting_consent_id", sa.String(length=48), nullable=True))
        batch.drop_constraint(op.f("ck_job_state"), type_="check")
        batch.create_check_constraint(op.f("ck_job_state"), f"state IN ({WAITING_TOO})")
        batch.drop_constraint(op.f("ck_job_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_job_kind"), f"kind IN ({KINDS}, 'pretrain')")
    with op.batch_alter_table("stage_run", copy_from=_stage_run()) as batch:
        batch.add_column(sa.Column("segment", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("segments", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("output", sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("available_at", sa.Double(), nullable=False, server_default="0"))
        batch.drop_constraint(op.f("uq_stage_run_job_id"), type_="unique")
        batch.create_unique_constraint(op.f("uq_stage_run_job_id"), ["job_id", "position", "segment"])
        batch.create_check_constraint(op.f("ck_stage_run_segment"), "segment BETWEEN 0 AND segments - 1")
    with op.batch_alter_table("stage_run") as batch:
        for name in ("segment", "segments", "available_at"):
            batch.alter_column(name, server_default=None)
    _make_indices(["job_id", "segment"])
    op.create_index("ix_job_awaiting_consent_id", "job", ["awaiting_consent_id"])
    op.create_index("ix_attempt_ended_at", "attempt", ["ended_at"])
    op.add_column("job", sa.Column("origin", sa.JSON(none_as_null=True), nullable=True))
    _rename_stages()
    op.create_table(
        "stage_result",
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=48), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_stage_result_job_id_job")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_stage_result_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "input_hash", name=op.f("pk_stage_result")),
    )
    op.create_index(op.f("ix_stage_result_job_id"), "stage_result", ["job_id"])
    op.create_index(op.f("ix_stage_result_created_at"), "stage_result", ["created_at"])
    _make_guard()


def downgrade() -> None:
    """Back to one live stage a job. Jobs of the new kind, and segments beyond the first, are lost."""
    _drop_guard()
    op.drop_table("stage_result")
    pretraining = "SELECT id FROM job WHERE kind = 'pretrain'"
    late = f"SELECT id FROM stage_run WHERE segment > 0 OR job_id IN ({pretraining})"  # noqa: S608 - no outside text
    op.execute(f"DELETE FROM attempt WHERE stage_run_id IN ({late})")  # noqa: S608
    op.execute(f"DELETE FROM stage_run WHERE segment > 0 OR job_id IN ({pretraining})")  # noqa: S608
    op.execute(f"DELETE FROM event WHERE job_id IN ({pretraining})")  # noqa: S608
    op.execute("DELETE FROM job WHERE kind = 'pretrain'")
    op.execute("UPDATE job SET state = 'cancelled' WHERE state = 'awaiting_consent'")
    op.drop_column("job", "origin")
    op.drop_index("ix_attempt_ended_at", "attempt")
    op.drop_index("ix_job_awaiting_consent_id", "job")
    _drop_indices()
    with op.batch_alter_table("stage_run", copy_from=_stage_run(segments=True)) as batch:
        batch.drop_constraint(op.f("ck_stage_run_segment"), type_="check")
        batch.drop_constraint(op.f("uq_stage_run_job_id"), type_="unique")
        for name in ("segment", "segments", "output", "available_at"):
            batch.drop_column(name)
        batch.create_unique_constraint(op.f("uq_stage_run_job_id"), ["job_id", "position"])
    with op.batch_alter_table("job", copy_from=_job(f"{KINDS}, 'pretrain'", WAITING_TOO, consent=True)) as batch:
        batch.drop_column("awaiting_consent_id")
        batch.drop_constraint(op.f("ck_job_state"), type_="check")
        batch.create_check_constraint(op.f("ck_job_state"), f"state IN ({STATES})")
        batch.drop_constraint(op.f("ck_job_kind"), type_="check")
        batch.create_check_constraint(op.f("ck_job_kind"), f"kind IN ({KINDS})")
    _make_indices(["job_id"])


def _rename_stages() -> None:
    """Jobs under way: `preprocess` is the second stage now, and a render that was not done begins at its speech."""
    adapting = "(SELECT id FROM job WHERE kind = 'adapt')"
    op.execute(f"UPDATE stage_run SET position = position + 100 WHERE job_id IN {adapting}")  # noqa: S608
    op.execute("UPDATE stage_run SET position = position - 99 WHERE position >= 100")
    for old, new in (("face", "adapt-face"), ("mouth", "adapt-mouth")):
        op.execute(f"UPDATE stage_run SET stage = '{new}' WHERE stage = '{old}'")  # noqa: S608
    op.execute(
        "UPDATE stage_run SET stage = 'mux', queue = 'cpu', position = 2 WHERE stage = 'render' AND state = 'succeeded'"
    )
    op.execute("UPDATE stage_run SET stage = 'speech', queue = 'cpu' WHERE stage = 'render'")


def _drop_indices() -> None:
    for name in ("ix_stage_run_state_queue", "uq_stage_run_live"):
        op.drop_index(name, "stage_run")
    for name in ("ix_job_awaiting_upload_id", "ix_job_state", "ix_job_subject_id", "ix_job_tenant_id_id"):
        op.drop_index(name, "job")


def _make_indices(live: list[str]) -> None:
    op.create_index("ix_stage_run_state_queue", "stage_run", ["state", "queue"])
    where = sa.text(LIVE)
    op.create_index("uq_stage_run_live", "stage_run", live, unique=True, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_job_awaiting_upload_id", "job", ["awaiting_upload_id"])
    op.create_index("ix_job_state", "job", ["state"])
    op.create_index("ix_job_subject_id", "job", ["subject_id"])
    op.create_index("ix_job_tenant_id_id", "job", ["tenant_id", "id"])


def _make_guard() -> None:
    """A job goes only where the transition table lets it, whoever writes."""
    pairs = " OR ".join(f"(OLD.state = '{old}' AND NEW.state = '{new}')" for old, new in ALLOWED)
    refused = f"OLD.state <> NEW.state AND NOT ({pairs})"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER job_state_guard BEFORE UPDATE OF state ON job WHEN {refused} "
            "BEGIN SELECT RAISE(ABORT, 'job state: no such transition'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION job_state_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'job state: no such transition' USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER job_state_guard BEFORE UPDATE OF state ON job FOR EACH ROW WHEN ({refused}) "
        "EXECUTE FUNCTION job_state_guard()"
    )


def _drop_guard() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER job_state_guard")
        return
    op.execute("DROP TRIGGER job_state_guard ON job")
    op.execute("DROP FUNCTION job_state_guard()")


def _job(kinds: str, states: str, *, consent: bool = False) -> sa.Table:
    """The table as it is before the change, for SQLite, which can't be asked for its checks."""
    added = [sa.Column("awaiting_consent_id", sa.String(length=48), nullable=True)] if consent else []
    return sa.Table(
        "job",
        sa.MetaData(),
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=48), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("awaiting_upload_id", sa.String(length=48), nullable=True),
        sa.Column("deadline_at", sa.Double(), nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_hint", sa.Text(), nullable=True),
        sa.Column("error_retryable", sa.Boolean(), nullable=True),
        sa.CheckConstraint(f"kind IN ({kinds})", name="ck_job_kind"),
        *added,
        sa.CheckConstraint(f"state IN ({states})", name="ck_job_state"),
        sa.ForeignKeyConstraint(["awaiting_upload_id"], ["upload.id"], name="fk_job_awaiting_upload_id_upload"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_job_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )


def _stage_run(*, segments: bool = False) -> sa.Table:
    """The table as it is before the change: the old form, or with `segments` the new one."""
    added: list[sa.SchemaItem] = []
    if segments:
        added = [
            sa.Column("segment", sa.Integer(), nullable=False),
            sa.Column("segments", sa.Integer(), nullable=False),
            sa.Column("output", sa.JSON(none_as_null=True), nullable=True),
            sa.Column("available_at", sa.Double(), nullable=False),
            sa.CheckConstraint("segment BETWEEN 0 AND segments - 1", name="ck_stage_run_segment"),
        ]
    unique = ["job_id", "position", *(["segment"] if segments else [])]
    return sa.Table(
        "stage_run",
        sa.MetaData(),
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("job_id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("queue", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=200), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("checkpoint", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("hinted_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="ck_stage_run_owner"),
        sa.CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="ck_stage_run_lease"),
        sa.CheckConstraint("queue IN ('cpu', 'train', 'render')", name="ck_stage_run_queue"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'rejected', 'cancelled', 'expired')",
            name="ck_stage_run_state",
        ),
        sa.CheckConstraint("attempt BETWEEN 0 AND max_attempts", name="ck_stage_run_attempt"),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_stage_run_progress"),
        *added,
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_stage_run_job_id_job"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_stage_run_tenant_id_tenant"),
        sa.PrimaryKeyConstraint("id", name="pk_stage_run"),
        sa.UniqueConstraint(*unique, name="uq_stage_run_job_id"),
    )
