"""The audit log: one hash-chained line per act on people, keys, credits and Jobs, in the act's own
transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trainshed.domain.people import Principal, Right
from trainshed.ports.deps import Deps
from trainshed.ports.records import AuditEntry
from trainshed.ports.store import Tx


def line(
    tx: Tx,
    who: Principal | str,
    account_id: str,
    action: str,
    target: str,
    now: datetime,
    **data: Any,
) -> None:
    """Append one line; ``data`` never holds a secret. ``who`` is a caller or a fixed word."""
    actor = who if isinstance(who, str) else who.user_id or who.id
    via = {} if isinstance(who, str) or who.key_id is None else {"key": who.key_id}
    tx.records.audit(AuditEntry(now, actor, account_id, action, target, {**data, **via}))


def page(deps: Deps, principal: Principal, before_seq: int | None, limit: int) -> list[AuditEntry]:
    """Return the account's lines, newest first."""
    principal.need(Right.ADMIN)
    return deps.store.read(
        lambda tx: tx.records.audit_page(principal.account_id, before_seq, limit)
    )
