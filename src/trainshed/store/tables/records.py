"""Idempotency, audit, settings that must survive, drains, offices, and dialects' public ids."""

from __future__ import annotations

from sqlalchemy import Index, Table

from trainshed.store.tables.base import blob, metadata, number, serial, text

remembered = Table(
    "remembered",
    metadata,
    text("account_id", key=True),
    text("key", key=True),
    text("fingerprint"),
    number("status"),
    blob("body"),
    number("created_at"),
)
Index("ix_remembered_created", remembered.c.created_at)

audit = Table(
    "audit",
    metadata,
    serial("seq"),
    number("at"),
    text("actor"),
    text("account_id"),
    text("action"),
    text("target"),
    text("data"),
    text("chain"),
    sqlite_autoincrement=True,
)
Index("ix_audit_account", audit.c.account_id, audit.c.seq)

meta = Table("meta", metadata, text("key", key=True), text("value"), sqlite_with_rowid=False)

#: Offers that take nothing new, until an operator ends the drain.
drains = Table(
    "drains",
    metadata,
    text("offer_id", key=True),
    number("at"),
    text("actor"),
    sqlite_with_rowid=False,
)

#: Who may do what only one server may do at a time; ``term`` grows with every change of holder.
offices = Table(
    "offices",
    metadata,
    text("name", key=True),
    text("holder"),
    number("term"),
    number("expires_at"),
    sqlite_with_rowid=False,
)

public_ids = Table(
    "public_ids",
    metadata,
    text("dialect", key=True),
    text("kind", key=True),
    text("public_id", key=True),
    text("object_id"),
    text("account_id"),
    sqlite_with_rowid=False,
)
Index(
    "uq_public_ids_object",
    public_ids.c.dialect, public_ids.c.kind, public_ids.c.object_id, unique=True,
)  # fmt: skip
