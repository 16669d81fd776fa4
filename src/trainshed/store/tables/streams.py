"""Streams (D13): heads, the hot tail of logs, sealed parts, packed points and the newest of each
key.
"""

from __future__ import annotations

from sqlalchemy import Index, Table

from trainshed.store.tables.base import blob, metadata, number, text

stream_heads = Table(
    "stream_heads",
    metadata,
    text("attempt_id", key=True),
    text("stream", key=True),
    text("account_id"),
    number("size"),
    number("truncated"),
    number("sealed_to"),
    sqlite_with_rowid=False,
)
Index("ix_stream_heads_account", stream_heads.c.account_id)

log_chunks = Table(
    "log_chunks",
    metadata,
    text("attempt_id", key=True),
    text("stream", key=True),
    number("start", key=True),
    number("length"),
    number("at"),
    blob("data"),
)

sealed_parts = Table(
    "sealed_parts",
    metadata,
    text("attempt_id", key=True),
    text("stream", key=True),
    number("start", key=True),
    number("length"),
    text("account_id"),
    text("md5"),
    text("sha256"),
    number("size_bytes"),
    blob("marks", null=True),
)
Index("ix_sealed_parts_account", sealed_parts.c.account_id)

point_rows = Table(
    "point_rows",
    metadata,
    text("attempt_id", key=True),
    text("name", key=True),
    number("start", key=True),
    number("n"),
    number("first_step"),
    number("last_step"),
    blob("packed"),
    sqlite_with_rowid=False,
)

Index("ix_point_rows_order", point_rows.c.attempt_id, point_rows.c.start)

latest_points = Table(
    "latest_points",
    metadata,
    text("attempt_id", key=True),
    text("name", key=True),
    number("step"),
    number("at_ms"),
    blob("value"),
    number("n"),
    sqlite_with_rowid=False,
)
