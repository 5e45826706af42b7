"""Keys with scopes, quotas, the audit log, consents and webhooks.

Identities of before were made on an attestation alone: each gets the consent that this amounts to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CONSENT_STATES = "'pending', 'verified', 'rejected', 'revoked', 'expired'"
SCOPES = '["admin", "consents", "read", "review", "webhooks", "write"]'


def upgrade() -> None:
    """Accounts, consents, webhooks."""
    _make_accounts()
    _make_consents()
    _make_webhooks()
    _make_umfs()
    _give_consents()
    with op.batch_alter_table("upload") as batch:
        batch.add_column(sa.Column("removed_at", sa.Double(), nullable=True))
    with op.batch_alter_table("render") as batch:
        batch.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("render_batch") as batch:
        batch.add_column(sa.Column("items", sa.JSON(), nullable=False, server_default="[]"))
    for table, column in (("render", "tags"), ("render_batch", "items")):
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, server_default=None)


def downgrade() -> None:
    """Back to attested identities. Consents, webhooks, quotas and the audit log are lost."""
    with op.batch_alter_table("render_batch") as batch:
        batch.drop_column("items")
    with op.batch_alter_table("render") as batch:
        batch.drop_column("tags")
    with op.batch_alter_table("upload") as batch:
        batch.drop_column("removed_at")
    with op.batch_alter_table("identity") as batch:
        batch.drop_index(op.f("ix_identity_consent_id"))
        for column in ("consent_id", "tags", "deleted_because"):
            batch.drop_column(column)
        batch.add_column(sa.Column("consent_attested", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.create_check_constraint(op.f("ck_identity_consent"), "consent_attested")
    with op.batch_alter_table("identity") as batch:
        batch.alter_column("consent_attested", server_default=None)
    _open_audit()
    for table in ("umf", "webhook_delivery", "webhook_endpoint", "consent", "audit_entry", "quota"):
        op.drop_table(table)
    with op.batch_alter_table("api_key") as batch:
        for column in ("name", "start", "scopes", "expires_at", "last_used_at"):
            batch.drop_column(column)


def _make_accounts() -> None:
    with op.batch_alter_table("api_key") as batch:
        batch.add_column(sa.Column("name", sa.String(length=200), nullable=False, server_default="key"))
        batch.add_column(sa.Column("start", sa.String(length=16), nullable=False, server_default="lk_"))
        batch.add_column(sa.Column("scopes", sa.JSON(), nullable=False, server_default=SCOPES))
        batch.add_column(sa.Column("expires_at", sa.Double(), nullable=True))
        batch.add_column(sa.Column("last_used_at", sa.Double(), nullable=True))
    with op.batch_alter_table("api_key") as batch:
        for column in ("name", "start", "scopes"):
            batch.alter_column(column, server_default=None)
    op.create_table(
        "quota",
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_video_seconds", sa.Double(), nullable=True),
        sa.Column("max_live_jobs", sa.Integer(), nullable=True),
        sa.CheckConstraint("max_stored_bytes >= 0", name=op.f("ck_quota_stored_bytes")),
        sa.CheckConstraint("max_video_seconds >= 0", name=op.f("ck_quota_video_seconds")),
        sa.CheckConstraint("max_live_jobs >= 0", name=op.f("ck_quota_live_jobs")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_quota_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_quota")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("chain", sa.String(length=48), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("request_id", sa.String(length=100), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_audit_entry")),
    )
    _close_audit()


def _make_consents() -> None:
    op.create_table(
        "consent",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=500), nullable=False),
        sa.Column("attested", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("phrase", sa.String(length=200), nullable=True),
        sa.Column("phrase_until", sa.Double(), nullable=True),
        sa.Column("evidence_upload_id", sa.String(length=48), nullable=True),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=True),
        sa.Column("evidence_at", sa.Double(), nullable=True),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.String(length=100), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint(f"state IN ({CONSENT_STATES})", name=op.f("ck_consent_state")),
        sa.CheckConstraint("(state = 'revoked') = (revoked_at IS NOT NULL)", name=op.f("ck_consent_revoked")),
        sa.CheckConstraint("state != 'verified' OR decided_at IS NOT NULL", name=op.f("ck_consent_decided")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_consent_tenant_id_tenant")),
        sa.ForeignKeyConstraint(
            ["evidence_upload_id"], ["upload.id"], name=op.f("fk_consent_evidence_upload_id_upload")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index("ix_consent_tenant_id_id", "consent", ["tenant_id", "id"])


def _make_webhooks() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("old_salt", sa.String(length=32), nullable=True),
        sa.Column("old_salt_until", sa.Double(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_webhook_endpoint_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index("ix_webhook_endpoint_tenant_id_id", "webhook_endpoint", ["tenant_id", "id"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("endpoint_id", sa.String(length=48), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("log", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_webhook_delivery_tenant_id_tenant")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id_webhook_endpoint"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    op.create_index("ix_webhook_delivery_tenant_id_id", "webhook_delivery", ["tenant_id", "id"])
    op.create_index(op.f("ix_webhook_delivery_endpoint_id"), "webhook_delivery", ["endpoint_id"])
    due = sa.text("state = 'pending'")
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["next_at"], sqlite_where=due, postgresql_where=due)


def _make_umfs() -> None:
    op.create_table(
        "umf",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant_id", sa.String(length=48), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.String(length=48), nullable=False),
        sa.Column("object_key", sa.String(length=512), nullable=True),
        sa.Column("object_size", sa.BigInteger(), nullable=True),
        sa.Column("object_sha256", sa.String(length=64), nullable=True),
        sa.Column("card", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_umf_job_id_job")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_umf_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_umf")),
    )
    op.create_index("ix_umf_tenant_id_id", "umf", ["tenant_id", "id"])
    kept = sa.text("deleted_at IS NULL")
    op.create_index("uq_umf_name", "umf", ["tenant_id", "name"], unique=True, sqlite_where=kept, postgresql_where=kept)


def _give_consents() -> None:
    op.execute(
        "INSERT INTO consent (id, tenant_id, subject, statement, purpose, attested, state, checks, decided_by, "
        "decided_at, created_at) SELECT 'con_' || substr(id, 5), tenant_id, name, "
        "'Attested when the identity was made.', 'An avatar of this person.', true, 'verified', '[]', 'attestation', "
        "created_at, created_at FROM identity"
    )
    with op.batch_alter_table("identity") as batch:
        batch.add_column(sa.Column("consent_id", sa.String(length=48), nullable=False, server_default=""))
        batch.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="{}"))
        batch.add_column(sa.Column("deleted_because", sa.String(length=64), nullable=True))
        batch.drop_constraint(op.f("ck_identity_consent"), type_="check")
        batch.drop_column("consent_attested")
        batch.create_index(op.f("ix_identity_consent_id"), ["consent_id"])
    op.execute("UPDATE identity SET consent_id = 'con_' || substr(id, 5)")
    with op.batch_alter_table("identity") as batch:
        for column in ("consent_id", "tags"):
            batch.alter_column(column, server_default=None)


def _close_audit() -> None:
    """Rows of the audit log are only added, whoever writes."""
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entry_no_{action.lower()} BEFORE {action} ON audit_entry "
                "BEGIN SELECT RAISE(ABORT, 'audit entries are only added'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_entry_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'audit entries are only added' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entry_guard BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW "
        "EXECUTE FUNCTION audit_entry_guard()"
    )


def _open_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_entry_no_update")
        op.execute("DROP TRIGGER audit_entry_no_delete")
        return
    op.execute("DROP TRIGGER audit_entry_guard ON audit_entry")
    op.execute("DROP FUNCTION audit_entry_guard()")
