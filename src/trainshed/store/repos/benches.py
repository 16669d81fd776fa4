"""Attached benches, and what waits to be measured on them."""

from __future__ import annotations

from datetime import datetime

from trainshed.domain.bench import Bench, Measured, Measurement
from trainshed.domain.errors import NotFound
from trainshed.store import claim, sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import clean, micros, moment, moment_or_none
from trainshed.store.tables import benches

_ATTACH = sql.insert(benches)
_ALL = sql.select(benches, "ORDER BY board, attached_at, id")
_GET = sql.select(benches, "WHERE id = ?")
_COLUMNS = "attempt_id, account_id, board, asked_at, bench_id, answered_at"
_ASK = (
    "INSERT INTO measurements (attempt_id, account_id, board, asked_at, parcel, failure)"
    " VALUES (?, ?, ?, ?, ?, '') ON CONFLICT DO NOTHING"
)


class SqlBenches:
    """``ports.benches.Benches`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def attach(self, bench: Bench) -> None:
        """Insert."""
        row = (
            bench.id, bench.board, clean(bench.name), bench.account_id,
            micros(bench.attached_at), micros(bench.seen_at),
        )  # fmt: skip
        self._link.run(_ATTACH, row)

    def get(self, id_: str) -> Bench:
        """Return it, locked if this is a write.

        Raises:
            NotFound: it was never attached, or has left.
        """
        row = self._link.one(_GET + self._link.for_update, (id_,))
        if row is None:
            raise NotFound("There is no bench with that id.")
        return _bench(row)

    def all(self) -> list[Bench]:
        """By board."""
        return [_bench(row) for row in self._link.all(_ALL)]

    def seen(self, id_: str, now: datetime) -> None:
        """Note that it was heard of."""
        self._link.run("UPDATE benches SET seen_at = ? WHERE id = ?", (micros(now), id_))

    def detach(self, id_: str) -> None:
        """Remove it."""
        self._link.run("DELETE FROM benches WHERE id = ?", (id_,))

    def ask(self, one: Measurement, parcel: bytes) -> None:
        """Insert unless it is there."""
        row = (one.attempt_id, one.account_id, one.board, micros(one.asked_at), parcel)
        self._link.run(_ASK, row)

    def measurements(self) -> list[Measurement]:
        """The oldest first."""
        query = f"SELECT {_COLUMNS} FROM measurements ORDER BY asked_at, attempt_id"  # noqa: S608
        return [_measurement(row) for row in self._link.all(query)]

    def of_attempt(self, attempt_id: str) -> Measurement | None:
        """Return it, or None."""
        query = f"SELECT {_COLUMNS} FROM measurements WHERE attempt_id = ?"  # noqa: S608
        row = self._link.one(query, (attempt_id,))
        return None if row is None else _measurement(row)

    def take(self, bench: Bench, since: datetime) -> Measurement | None:
        """Write who has it."""
        values = (bench.board, bench.id, micros(since), bench.id)
        skip = claim.SKIP_LOCKED if self._link.for_update else ""
        found = self._link.scalar(claim.WAITING_MEASUREMENT + skip, values)
        if found is None:
            return None
        self._link.run(claim.TAKE_MEASUREMENT, (bench.id, found))
        return self.of_attempt(found)

    def parcel(self, attempt_id: str, bench_id: str) -> bytes | None:
        """Return the bytes."""
        found = self._link.scalar(claim.TAKEN_PARCEL, (attempt_id, bench_id))
        return None if found is None else bytes(found)

    def answer(self, attempt_id: str, bench_id: str, found: Measured, now: datetime) -> bool:
        """Write it once; what was to be measured is no longer needed."""
        row = (found.parcel, clean(found.failure), micros(now), None, attempt_id, bench_id)
        return bool(self._link.run(claim.ANSWER, row))

    def answer_of(self, attempt_id: str) -> Measured | None:
        """Return what the bench said."""
        row = self._link.one(
            "SELECT answer, failure FROM measurements"
            " WHERE attempt_id = ? AND answered_at IS NOT NULL",
            (attempt_id,),
        )
        return None if row is None else Measured(bytes(row[0]), row[1])

    def forget(self, attempt_id: str) -> None:
        """Delete."""
        self._link.run("DELETE FROM measurements WHERE attempt_id = ?", (attempt_id,))


def _bench(row: Row) -> Bench:
    id_, board, name, account_id, attached_at, seen_at = row
    return Bench(id_, board, name, account_id, moment(attached_at), moment(seen_at))


def _measurement(row: Row) -> Measurement:
    attempt_id, account_id, board, asked_at, bench_id, answered_at = row
    return Measurement(
        attempt_id, account_id, board, moment(asked_at), bench_id, moment_or_none(answered_at)
    )
