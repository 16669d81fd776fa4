"""Where events go, and each event on its way there."""

from __future__ import annotations

from sqlalchemy import Index, Table
from sqlalchemy import text as sql

from trainshed.store.tables.base import blob, metadata, number, text

PENDING = "state = 'pending'"
UNDONE = "state <> 'delivered'"

subscriptions = Table(
    "subscriptions",
    metadata,
    text("id", key=True),
    text("account_id", null=True, to="accounts.id"),
    text("channel"),
    text("name"),
    text("events"),
    number("created_at"),
    blob("sealed"),
    number("active"),
    number("since_seq"),
    text("job_id", null=True),
    text("job_dialect", null=True),
    text("dialect"),
    number("failing_since", null=True),
    number("dropped", null=True),
)
Index("ix_subscriptions_account", subscriptions.c.account_id, subscriptions.c.created_at)

deliveries = Table(
    "deliveries",
    metadata,
    text("id", key=True),
    text("subscription_id", to="subscriptions.id"),
    text("account_id", null=True),
    text("kind"),
    number("seq"),
    text("job_id", null=True),
    number("created_at"),
    text("payload"),
    number("next_at"),
    text("state"),
    number("tries"),
    number("done_at", null=True),
    number("status", null=True),
    text("detail"),
    text("response"),
    number("took_ms", null=True),
)
_PENDING = sql(PENDING)
_UNDONE = sql(UNDONE)
_DONE = sql("state = 'delivered'")
Index(
    "ix_deliveries_due", deliveries.c.subscription_id, deliveries.c.next_at, deliveries.c.id,
    sqlite_where=_PENDING, postgresql_where=_PENDING,
)  # fmt: skip
Index(
    "ix_deliveries_page",
    deliveries.c.subscription_id, deliveries.c.created_at, deliveries.c.id, deliveries.c.state,
)  # fmt: skip
Index(
    "ix_deliveries_done", deliveries.c.done_at, sqlite_where=_DONE, postgresql_where=_DONE
)  # fmt: skip
Index(
    "ix_deliveries_undone", deliveries.c.subscription_id,
    sqlite_where=_UNDONE, postgresql_where=_UNDONE,
)  # fmt: skip
