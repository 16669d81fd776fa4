"""The network that an Attempt really got."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Attempts of before have none."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("attempts", sa.Column("network", text, nullable=True))
