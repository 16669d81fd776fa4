"""Money: entries with running balances, holds with a journal; both append-only, both O(1) to
read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from trainshed.domain.errors import Conflict, NotFound
from trainshed.domain.ledger import Balance, Entry, Hold, HoldState, Unit
from trainshed.store import claim, sql
from trainshed.store.link import Link
from trainshed.store.mapping import entry_from, entry_row, hold_from, hold_row, micros_or_none
from trainshed.store.tables import entries, hold_moves, holds

_POST = sql.insert(entries, skip=("seq",))
_MOVE = sql.insert(hold_moves, skip=("seq",))
_BALANCE = "SELECT balance_after FROM entries WHERE book = ? AND unit = ? ORDER BY seq DESC LIMIT 1"
_HELD = (
    "SELECT held_after FROM hold_moves WHERE account_id = ? AND unit = ? ORDER BY seq DESC LIMIT 1"
)
#: Each of the next two is one question, not several: on PostgreSQL each costs a round trip under
#: the account's lock.
_FUNDS = " ".join(("SELECT", f"({_BALANCE}),", f"({_HELD})"))
_BEFORE_MOVE = " ".join(
    (
        "SELECT j.key_id,", f"({_HELD}),",
        "(SELECT m.key_used_after FROM hold_moves AS m WHERE m.key_id IS NOT NULL",
        "AND m.key_id = j.key_id ORDER BY m.seq DESC LIMIT 1)",
        "FROM jobs AS j WHERE j.id = ?",
    )
)  # fmt: skip
_KEY_USED = (
    "SELECT key_used_after FROM hold_moves WHERE key_id IS NOT NULL AND key_id = ?"
    " ORDER BY seq DESC LIMIT 1"
)
_OPEN_HOLD = sql.select(holds, "WHERE job_id = ? AND state = 'open'")
_HOLDS_OF = sql.select(holds, "WHERE job_id = ? ORDER BY created_at, id")
_PLATFORM = "platform:"


class SqlLedger:
    """``ports.store.Ledger`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link
        self._locked: set[str] = set()

    def lock(self, account_id: str) -> None:
        """Serialise the account's money until commit; the single writer of SQLite has it so."""
        if self._link.for_update and account_id not in self._locked:
            self._link.one(claim.LOCK_ACCOUNT, (account_id,))
            self._locked.add(account_id)

    def balance(self, account_id: str, unit: Unit) -> Balance:
        """Read both running sums."""
        row = self._link.one(_FUNDS, (account_id, unit.value) * 2) or (0, 0)
        return Balance(unit, int(row[0] or 0), int(row[1] or 0))

    def post(self, entries: Sequence[Entry]) -> None:
        """Add the legs of one balanced transaction; platform books keep no running balance."""
        sums: dict[tuple[str, Unit], int] = defaultdict(int)
        for entry in entries:
            sums[entry.txn_id, entry.unit] += entry.amount
        if any(sums.values()) or len({e.txn_id for e in entries}) > 1:
            raise Conflict("The entries of a transaction must sum to 0 in every unit.")
        wallets = {e.book for e in entries if not e.book.startswith(_PLATFORM)}
        for book in sorted(wallets):
            self.lock(book)
        for entry in entries:
            after = None
            if entry.book in wallets:
                before = self._link.scalar(_BALANCE, (entry.book, entry.unit.value)) or 0
                after = before + entry.amount
            self._link.run(_POST, entry_row(entry, after))

    def entries(
        self,
        account_id: str,
        unit: Unit | None,
        before_seq: int | None,
        limit: int,
        offset: int = 0,
    ) -> list[tuple[int, int, Entry]]:
        """Newest first."""
        terms: list[str] = ["book = ?"]
        values: list[object] = [account_id]
        if unit is not None:
            terms.append("unit = ?")
            values.append(unit.value)
        if before_seq is not None:
            terms.append("seq < ?")
            values.append(before_seq)
        query = sql.select(entries, "WHERE", " AND ".join(terms), "ORDER BY seq DESC")
        rows = self._link.all(f"{query} LIMIT ? OFFSET ?", (*values, limit, offset))
        return [entry_from(r) for r in rows]

    def n_entries(self, account_id: str, unit: Unit) -> int:
        """Count a wallet's lines."""
        query = "SELECT COUNT(*) FROM entries WHERE book = ? AND unit = ?"
        return int(self._link.scalar(query, (account_id, unit.value)) or 0)

    def insert_hold(self, hold: Hold) -> None:
        """Reserve; raises Conflict if the Job has an open hold."""
        self.lock(hold.account_id)
        if not self._link.run(claim.RESERVE, hold_row(hold)):
            raise Conflict("The job already has an open hold.")
        self._move(hold, hold.amount, hold.amount)

    def open_hold(self, job_id: str) -> Hold | None:
        """The Job's reservation, locked if this is a write."""
        row = self._link.one(_OPEN_HOLD + self._link.for_update, (job_id,))
        return None if row is None else hold_from(row)

    def end_hold(self, hold: Hold) -> None:
        """Capture or release, once."""
        if hold.state is HoldState.OPEN:
            raise Conflict("A hold ends as captured or released.")
        self.lock(hold.account_id)
        values = (hold.state.value, hold.captured, micros_or_none(hold.ended_at), hold.id)
        if not self._link.run(claim.END_HOLD, values):
            raise Conflict("This hold has already been captured or released.")
        self._move(hold, -hold.amount, hold.captured - hold.amount)

    def holds(self, account_id: str, open_only: bool) -> list[Hold]:
        """Oldest first."""
        only = "AND state = 'open'" if open_only else ""
        query = sql.select(holds, "WHERE account_id = ?", only, "ORDER BY created_at, id")
        return [hold_from(r) for r in self._link.all(query, (account_id,))]

    def holds_of(self, job_id: str) -> list[Hold]:
        """Oldest first."""
        return [hold_from(r) for r in self._link.all(_HOLDS_OF, (job_id,))]

    def captured(self, job_id: str) -> int:
        """Sum over the Job's holds."""
        return int(
            self._link.scalar("SELECT SUM(captured) FROM holds WHERE job_id = ?", (job_id,)) or 0
        )

    def captured_by_key(self, key_id: str) -> int:
        """The running sum of what the key's Jobs captured and hold."""
        return int(self._link.scalar(_KEY_USED, (key_id,)) or 0)

    def _move(self, hold: Hold, delta: int, key_delta: int) -> None:
        unit = hold.unit.value
        before = self._link.one(_BEFORE_MOVE, (hold.account_id, unit, hold.job_id))
        if before is None:
            raise NotFound("There is no job with that id.")
        key_id, held, used = before
        if hold.unit is not Unit.CREDIT:
            key_id = None  # a key's spending limit is one of credits
        key_used = None if key_id is None else int(used or 0) + key_delta
        row = (hold.id, hold.account_id, unit, delta, int(held or 0) + delta, key_id, key_used)
        self._link.run(_MOVE, row)
