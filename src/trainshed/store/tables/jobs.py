"""Jobs, their Attempts, and the outbox.

``jobs.rank`` is minus the priority, so that every order is ascending. ``jobs.lane`` names the Jobs
of equal priority and equal resources: only the first few of a lane can matter in one round.
``jobs.live`` says whether a live Attempt exists: derived, kept in the transaction that moves the
Attempt, checked by ``verify``, as the lane is.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint
from sqlalchemy import text as sql

from trainshed.store.tables.base import blob, metadata, number, serial, text

PLACEABLE = "outcome IS NULL AND intent = 'run' AND live = 0"
LIVE = "state IN ('LEASED', 'STARTING', 'RUNNING', 'CHECKPOINTING')"

jobs = Table(
    "jobs",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("user_id", null=True),
    text("key_id", null=True),
    text("dialect"),
    text("workload"),
    text("pool"),
    text("name"),
    text("state"),
    text("intent"),
    text("outcome", null=True),
    text("reason", null=True),
    text("message"),
    number("rank"),
    text("lane"),
    number("live"),
    number("created_at"),
    number("not_before", null=True),
    number("started_at", null=True),
    number("ended_at", null=True),
    number("deleted_at", null=True),
    text("retry_of", null=True),
    number("retries_used"),
    number("infrastructure_used"),
    number("n_attempts"),
    number("millicpus"),
    number("memory_bytes"),
    number("gpus"),
    text("gpu_type", null=True),
    number("max_runtime_s"),
    text("spec"),
)

_PAGED = (jobs.c.created_at, jobs.c.id)


def _partial(name: str, where: str, *columns: object) -> None:
    clause = sql(where)
    Index(name, *columns, sqlite_where=clause, postgresql_where=clause)  # type: ignore[arg-type]


_partial(
    "ix_jobs_placeable", PLACEABLE,
    jobs.c.account_id, jobs.c.lane, jobs.c.created_at, jobs.c.id, jobs.c.not_before, jobs.c.rank,
)  # fmt: skip
_partial("ix_jobs_due", f"{PLACEABLE} AND not_before IS NOT NULL", jobs.c.not_before)
_partial(
    "ix_jobs_page", "deleted_at IS NULL",
    jobs.c.account_id, *_PAGED, jobs.c.dialect, jobs.c.workload, jobs.c.pool,
)  # fmt: skip
_partial("ix_jobs_state", "deleted_at IS NULL", jobs.c.account_id, jobs.c.state, *_PAGED)
_partial("ix_jobs_name", "deleted_at IS NULL", jobs.c.account_id, jobs.c.name, *_PAGED)
_partial(
    "ix_jobs_all", "deleted_at IS NULL",
    *_PAGED, jobs.c.dialect, jobs.c.workload, jobs.c.pool, jobs.c.name,
)  # fmt: skip
_partial("ix_jobs_boards", "outcome IS NULL AND pool = 'boards'", *_PAGED)

job_envs = Table("job_envs", metadata, text("job_id", key=True, to="jobs.id"), blob("sealed"))

job_labels = Table(
    "job_labels",
    metadata,
    text("label", key=True),
    text("value", key=True),
    text("account_id", key=True),
    number("created_at", key=True),
    text("job_id", key=True, to="jobs.id"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    text("id", key=True),
    text("job_id", to="jobs.id"),
    text("account_id"),
    number("number"),
    number("token"),
    text("offer_id"),
    text("executor"),
    text("pool"),
    number("millicpus"),
    number("memory_bytes"),
    text("devices"),
    number("gpus"),
    number("slot"),
    text("state"),
    text("reason", null=True),
    text("message"),
    text("order_sent", null=True),
    text("isolation", null=True),
    text("handle"),
    number("leased_at"),
    number("renewed_at", null=True),
    number("started_at", null=True),
    number("ended_at", null=True),
    number("exit_code", null=True),
    number("signal", null=True),
    number("runtime_ms"),
    number("billable_ms"),
    number("checkpoint_ms"),
    text("resumed_from", null=True),
    number("resumed_step", null=True),
    text("runner_token_hash"),
    text("job_token_hash"),
    text("network", null=True),
    text("image_digest", null=True),
    UniqueConstraint("job_id", "number", name="uq_attempts_number"),
)
_LIVE = sql(LIVE)
Index(
    "uq_attempts_live", attempts.c.job_id, unique=True,
    sqlite_where=_LIVE, postgresql_where=_LIVE,
)  # fmt: skip
Index(
    "ix_attempts_usage", attempts.c.ended_at, attempts.c.account_id,
    attempts.c.started_at, attempts.c.millicpus, attempts.c.gpus,
)  # fmt: skip
Index("ix_attempts_account", attempts.c.account_id)

events = Table(
    "events",
    metadata,
    serial("seq"),
    text("kind"),
    text("account_id"),
    number("at"),
    text("job_id", null=True),
    text("attempt_id", null=True),
    text("data"),
    sqlite_autoincrement=True,
)
Index("ix_events_account", events.c.account_id, events.c.seq)
Index("ix_events_job", events.c.job_id, events.c.seq)
