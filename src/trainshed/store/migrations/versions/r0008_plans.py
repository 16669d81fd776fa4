"""What accounts may run on boards, what runs there now, and what people are called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trainshed.store.tables.base import TEXT

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Accounts that were there before get the first plan's runs at the next start: all are due."""
    op.add_column("accounts", sa.Column("plan", TEXT, nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("renews_at", sa.BigInteger, nullable=True))
    op.execute("UPDATE accounts SET renews_at = 0")
    op.create_index("ix_accounts_renews", "accounts", ["renews_at"])
    for name in ("email", "first_name", "surname"):
        op.add_column("users", sa.Column(name, TEXT, nullable=False, server_default=""))
    op.execute(
        "CREATE INDEX ix_jobs_boards ON jobs (created_at, id)"
        " WHERE outcome IS NULL AND pool = 'boards'"
    )
