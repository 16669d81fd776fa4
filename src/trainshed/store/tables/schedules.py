"""Schedules, their fires, and the checkpoint volumes that their Jobs share.

The key of ``fires`` is what makes a due time happen once, whoever tries.
"""

from __future__ import annotations

from sqlalchemy import Index, Table
from sqlalchemy import text as sql

from trainshed.store.tables.base import blob, metadata, number, text

schedules = Table(
    "schedules",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("user_id", null=True),
    text("key_id", null=True),
    text("dialect"),
    text("name"),
    text("cron"),
    text("zone"),
    text("catch_up"),
    text("overlap"),
    number("created_at"),
    number("updated_at"),
    number("next_due", null=True),
    number("paused_at", null=True),
    number("deleted_at", null=True),
    text("last_job_id", null=True),
    text("last_error", null=True),
    text("spec"),
    blob("env", null=True),
)
_KEPT = sql("deleted_at IS NULL")
Index(
    "uq_schedules_name", schedules.c.account_id, schedules.c.name, unique=True,
    sqlite_where=_KEPT, postgresql_where=_KEPT,
)  # fmt: skip
Index(
    "ix_schedules_page", schedules.c.account_id, schedules.c.created_at, schedules.c.id,
    sqlite_where=_KEPT, postgresql_where=_KEPT,
)  # fmt: skip
_DUE = sql("next_due IS NOT NULL")
Index(
    "ix_schedules_due", schedules.c.next_due, schedules.c.id,
    sqlite_where=_DUE, postgresql_where=_DUE,
)  # fmt: skip

fires = Table(
    "fires",
    metadata,
    text("schedule_id", key=True, to="schedules.id"),
    number("due_at", key=True),
    text("account_id"),
    text("kind"),
    text("state"),
    number("fired_at"),
    text("job_id", null=True),
    text("message"),
)
_MADE = sql("job_id IS NOT NULL")
Index(
    "uq_fires_job", fires.c.job_id, unique=True, sqlite_where=_MADE, postgresql_where=_MADE
)  # fmt: skip
Index("ix_fires_due", fires.c.due_at)

volumes = Table(
    "volumes",
    metadata,
    text("account_id", key=True),
    text("path", key=True),
    text("artifact_id", to="artifacts.id"),
    number("updated_at"),
)
Index("ix_volumes_artifact", volumes.c.artifact_id)
