"""Lanes of the queue, drained offers, and the offices that one server holds at a time."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Frozen here, as they were when this was released.
_LIVE = "outcome IS NULL AND intent = 'run' AND live = 0"
_LANE = (
    "UPDATE jobs SET lane = substr('0000' || CAST(rank + 1000 AS TEXT),"
    " length(CAST(rank + 1000 AS TEXT)) + 1) || '.' || gpus || '.' || millicpus || '.'"
    " || memory_bytes || '.' || COALESCE(gpu_type, '')"
)
_TABLES = (
    "CREATE TABLE drains (offer_id {text} NOT NULL, at BIGINT NOT NULL, actor {text} NOT NULL,"
    " CONSTRAINT pk_drains PRIMARY KEY (offer_id)){tail}",
    "CREATE TABLE offices (name {text} NOT NULL, holder {text} NOT NULL, term BIGINT NOT NULL,"
    " expires_at BIGINT NOT NULL, CONSTRAINT pk_offices PRIMARY KEY (name)){tail}",
)


def upgrade() -> None:
    """Give every Job its lane, and walk the queue by it."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    text = "TEXT" if sqlite else 'TEXT COLLATE "C"'
    run = op.get_bind().exec_driver_sql
    run(f"ALTER TABLE jobs ADD COLUMN lane {text} NOT NULL DEFAULT ''")
    run(_LANE)
    run("DROP INDEX ix_jobs_placeable")
    run(
        "CREATE INDEX ix_jobs_placeable ON jobs"
        f" (account_id, lane, created_at, id, not_before, rank) WHERE {_LIVE}"
    )
    for statement in _TABLES:
        run(statement.format(text=text, tail=" WITHOUT ROWID" if sqlite else ""))
