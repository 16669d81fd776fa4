"""Real boards that are attached, and what waits to be measured on them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trainshed.store.tables.base import TEXT

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is attached yet."""
    op.create_table(
        "benches",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("board", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("account_id", TEXT, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("attached_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "measurements",
        sa.Column("attempt_id", TEXT, sa.ForeignKey("attempts.id"), primary_key=True),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("board", TEXT, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("bench_id", TEXT, nullable=True),
        sa.Column("answered_at", sa.BigInteger, nullable=True),
        sa.Column("parcel", sa.LargeBinary, nullable=True),
        sa.Column("answer", sa.LargeBinary, nullable=True),
        sa.Column("failure", TEXT, nullable=False),
    )
    op.create_index("ix_measurements_board", "measurements", ["board", "asked_at"])
