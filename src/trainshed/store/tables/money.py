"""Entries, holds, and the journal of holds.

``entries.balance_after`` is the wallet's running balance (null in the platform's own books, which
no
one has to wait for). ``hold_moves`` is to holds what entries are to balances: append-only, with the
running sum of open holds beside each move, and of what a key has spent or reserved; ``verify``
compares both with the sums.
"""

from __future__ import annotations

from sqlalchemy import Index, Table
from sqlalchemy import text as sql

from trainshed.store.tables.base import metadata, number, serial, text

entries = Table(
    "entries",
    metadata,
    serial("seq"),
    text("txn_id"),
    text("book"),
    number("amount"),
    text("unit"),
    text("kind"),
    number("created_at"),
    text("job_id", null=True),
    text("attempt_id", null=True),
    text("memo"),
    number("balance_after", null=True),
)
Index("ix_entries_book", entries.c.book, entries.c.unit, entries.c.seq)
Index("ix_entries_txn", entries.c.txn_id)

holds = Table(
    "holds",
    metadata,
    text("id", key=True),
    text("account_id"),
    text("job_id", to="jobs.id"),
    text("unit"),
    number("amount"),
    text("state"),
    number("created_at"),
    number("captured"),
    number("ended_at", null=True),
)
_OPEN = sql("state = 'open'")
Index("uq_holds_open", holds.c.job_id, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("ix_holds_job", holds.c.job_id)
Index("ix_holds_account", holds.c.account_id, holds.c.created_at, holds.c.id)
Index(
    "ix_holds_open", holds.c.account_id, holds.c.unit, holds.c.amount,
    sqlite_where=_OPEN, postgresql_where=_OPEN,
)  # fmt: skip

hold_moves = Table(
    "hold_moves",
    metadata,
    serial("seq"),
    text("hold_id"),
    text("account_id"),
    text("unit"),
    number("delta"),
    number("held_after"),
    text("key_id", null=True),
    number("key_used_after", null=True),
)
Index("ix_hold_moves_account", hold_moves.c.account_id, hold_moves.c.unit, hold_moves.c.seq)
_KEYED = sql("key_id IS NOT NULL")
Index(
    "ix_hold_moves_key", hold_moves.c.key_id, hold_moves.c.seq,
    sqlite_where=_KEYED, postgresql_where=_KEYED,
)  # fmt: skip
