"""Uploads that come in parts, and uploads that were dropped because they never came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bytes that are here but not confirmed are no state any more: confirming looks at the object itself."""
    with op.batch_alter_table("upload") as batch:
        batch.add_column(sa.Column("part_upload", sa.String(length=300), nullable=True))
        batch.add_column(sa.Column("part_bytes", sa.BigInteger(), nullable=True))
        batch.drop_constraint(op.f("ck_upload_state"), type_="check")
    op.execute("UPDATE upload SET state = 'awaiting' WHERE state = 'stored'")
    with op.batch_alter_table("upload") as batch:
        batch.create_check_constraint(op.f("ck_upload_state"), "state IN ('awaiting', 'complete', 'expired')")
        batch.create_check_constraint(op.f("ck_upload_parts"), "(part_upload IS NULL) = (part_bytes IS NULL)")
    op.create_index("ix_upload_state", "upload", ["state"])


def downgrade() -> None:
    """Uploads in parts that are not complete can't be finished any more; dropped ones wait again."""
    op.drop_index("ix_upload_state", "upload")
    with op.batch_alter_table("upload") as batch:
        batch.drop_constraint(op.f("ck_upload_parts"), type_="check")
        batch.drop_constraint(op.f("ck_upload_state"), type_="check")
    op.execute("UPDATE upload SET state = 'awaiting' WHERE state = 'expired'")
    with op.batch_alter_table("upload") as batch:
        batch.drop_column("part_bytes")
        batch.drop_column("part_upload")
        batch.create_check_constraint(op.f("ck_upload_state"), "state IN ('awaiting', 'stored', 'complete')")
