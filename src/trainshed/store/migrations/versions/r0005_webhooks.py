"""Subscriptions and their deliveries; what happened before is not sent."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _columns(words: str) -> list[sa.Column[Any]]:
    """Return columns from ``name:type``; a question mark makes one nullable."""
    kinds: dict[str, Any] = {"text": _TEXT, "number": sa.BigInteger(), "blob": sa.LargeBinary()}
    out: list[sa.Column[Any]] = []
    for word in words.split():
        name, _, kind = word.rstrip("?").partition(":")
        out.append(sa.Column(name, kinds[kind], nullable=word.endswith("?")))
    return out


def upgrade() -> None:
    """Make both tables and the cursor."""
    op.create_table(
        "subscriptions",
        *_columns(
            "id:text account_id:text? channel:text name:text events:text created_at:number"
            " sealed:blob active:number since_seq:number job_id:text? job_dialect:text?"
            " dialect:text failing_since:number?"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_subscriptions_account_id"
        ),
    )
    op.create_table(
        "deliveries",
        *_columns(
            "id:text subscription_id:text account_id:text? kind:text seq:number job_id:text?"
            " created_at:number payload:text next_at:number state:text tries:number"
            " done_at:number? status:number? detail:text response:text took_ms:number?"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_deliveries_subscription_id"
        ),
    )
    for statement in (
        "CREATE INDEX ix_subscriptions_account ON subscriptions (account_id, created_at)",
        "CREATE INDEX ix_deliveries_due ON deliveries (subscription_id, next_at, id)"
        " WHERE state = 'pending'",
        "CREATE INDEX ix_deliveries_page ON deliveries (subscription_id, created_at, id, state)",
        "CREATE INDEX ix_deliveries_done ON deliveries (done_at) WHERE state = 'delivered'",
        "INSERT INTO meta (key, value)"
        " SELECT 'deliveries.cursor', CAST(COALESCE(MAX(seq), 0) AS TEXT) FROM events",
    ):
        op.execute(statement)
