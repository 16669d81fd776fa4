"""Schedules, their fires, and checkpoint volumes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables; nothing that exists changes."""
    op.create_table(
        "schedules",
        _text("id"),
        _text("account_id"),
        _text("user_id", null=True),
        _text("key_id", null=True),
        *(_text(name) for name in ("dialect", "name", "cron", "zone", "catch_up", "overlap")),
        *(_number(name) for name in ("created_at", "updated_at")),
        *(_number(name, null=True) for name in ("next_due", "paused_at", "deleted_at")),
        _text("last_job_id", null=True),
        _text("last_error", null=True),
        _text("spec"),
        sa.Column("env", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_schedules_account_id"),
    )
    _index("uq_schedules_name", "schedules", ["account_id", "name"], "deleted_at IS NULL", True)
    page = ["account_id", "created_at", "id"]
    _index("ix_schedules_page", "schedules", page, "deleted_at IS NULL")
    _index("ix_schedules_due", "schedules", ["next_due", "id"], "next_due IS NOT NULL")
    op.create_table(
        "fires",
        _text("schedule_id"),
        _number("due_at"),
        *(_text(name) for name in ("account_id", "kind", "state")),
        _number("fired_at"),
        _text("job_id", null=True),
        _text("message"),
        sa.PrimaryKeyConstraint("schedule_id", "due_at", name="pk_fires"),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name="fk_fires_schedule_id"),
    )
    _index("uq_fires_job", "fires", ["job_id"], "job_id IS NOT NULL", True)
    op.create_index("ix_fires_due", "fires", ["due_at"])
    op.create_table(
        "volumes",
        *(_text(name) for name in ("account_id", "path", "artifact_id")),
        _number("updated_at"),
        sa.PrimaryKeyConstraint("account_id", "path", name="pk_volumes"),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_volumes_artifact_id"),
    )
    op.create_index("ix_volumes_artifact", "volumes", ["artifact_id"])


def _text(name: str, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=null)


def _number(name: str, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _index(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    clause = sa.text(where)
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=clause, postgresql_where=clause
    )
