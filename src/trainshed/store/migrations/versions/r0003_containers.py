"""The image an Attempt ran in, and accounts' logins to container registries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trainshed.store.tables.base import TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and a table."""
    op.add_column("attempts", sa.Column("image_digest", TEXT, nullable=True))
    op.create_table(
        "registry_logins",
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("registry", TEXT, nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "registry", name="pk_registry_logins"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_registry_logins_account_id"
        ),
        sqlite_with_rowid=False,
    )
