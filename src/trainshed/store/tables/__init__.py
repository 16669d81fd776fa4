"""Every table, as SQLAlchemy Core: the schema that migrations build and ``alembic check`` compares.

Times are int64 microseconds UTC (``*_at``), flags are 0/1, enums and JSON are text. No hot
statement is
made from these objects; ``sql.py`` takes column names from them, so that the two cannot drift.
"""

from __future__ import annotations

from trainshed.store.tables.base import metadata
from trainshed.store.tables.benches import benches, measurements
from trainshed.store.tables.deliveries import deliveries, subscriptions
from trainshed.store.tables.files import artifact_files, artifacts, uploads
from trainshed.store.tables.jobs import attempts, events, job_envs, job_labels, jobs
from trainshed.store.tables.money import entries, hold_moves, holds
from trainshed.store.tables.people import (
    accounts,
    keys,
    registry_logins,
    sessions,
    users,
)
from trainshed.store.tables.records import audit, drains, meta, offices, public_ids, remembered
from trainshed.store.tables.schedules import fires, schedules, volumes
from trainshed.store.tables.streams import (
    latest_points,
    log_chunks,
    point_rows,
    sealed_parts,
    stream_heads,
)

__all__ = [
    "accounts", "artifact_files", "artifacts", "attempts", "audit", "benches", "deliveries",
    "drains", "entries", "events", "fires",
    "hold_moves", "holds", "job_envs", "job_labels", "jobs", "keys", "latest_points", "log_chunks",
    "measurements", "meta", "metadata", "offices", "point_rows", "public_ids", "registry_logins",
    "remembered", "schedules", "sealed_parts", "sessions", "stream_heads", "subscriptions",
    "uploads", "users", "volumes",
]  # fmt: skip
