"""Real boards that are attached, and what Attempts want measured on them."""

from __future__ import annotations

from sqlalchemy import Index, Table

from trainshed.store.tables.base import blob, metadata, number, text

benches = Table(
    "benches",
    metadata,
    text("id", key=True),
    text("board"),
    text("name"),
    text("account_id", to="accounts.id"),
    number("attached_at"),
    number("seen_at"),
)

#: ``parcel`` goes when the answer comes.
measurements = Table(
    "measurements",
    metadata,
    text("attempt_id", key=True, to="attempts.id"),
    text("account_id"),
    text("board"),
    number("asked_at"),
    text("bench_id", null=True),
    number("answered_at", null=True),
    blob("parcel", null=True),
    blob("answer", null=True),
    text("failure"),
)
Index("ix_measurements_board", measurements.c.board, measurements.c.asked_at)
