"""When the bytes of a sealed log came, and what the limit of a backlog dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Logs sealed before have no times of their own; nothing was dropped before."""
    op.add_column("sealed_parts", sa.Column("marks", sa.LargeBinary, nullable=True))
    op.add_column("subscriptions", sa.Column("dropped", sa.BigInteger, nullable=True))
    op.execute(
        "CREATE INDEX ix_deliveries_undone ON deliveries (subscription_id)"
        " WHERE state <> 'delivered'"
    )
