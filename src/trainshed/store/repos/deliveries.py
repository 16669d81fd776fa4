"""Subscriptions, and deliveries on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from trainshed.domain.delivery import Delivery, DeliveryState, Subscription
from trainshed.domain.errors import NotFound
from trainshed.ports.deliveries import Tally
from trainshed.ports.paging import After
from trainshed.store import claim, sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import (
    clean,
    json_text,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
)
from trainshed.store.tables import deliveries, subscriptions
from trainshed.store.tables.deliveries import UNDONE

_INSERT = sql.insert(subscriptions)
_SAVE = sql.update(
    subscriptions, ("name", "events", "sealed", "active", "since_seq"), "WHERE id = ?"
)
_ADD = sql.insert(deliveries, tail="ON CONFLICT DO NOTHING")
_LISTEN = sql.select(subscriptions, "WHERE active = 1 AND (account_id IS NULL OR ")
#: Both are walks of ``ix_deliveries_undone``.
_FULL = (
    f"SELECT subscription_id, COUNT(*) FROM deliveries WHERE {UNDONE}"  # noqa: S608  constants only
    " GROUP BY subscription_id HAVING COUNT(*) > ?"
)
_TRIM = (
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries"  # noqa: S608  constants only
    f" WHERE subscription_id = ? AND {UNDONE}"
    " ORDER BY CASE state WHEN 'dead' THEN 0 ELSE 1 END, created_at, id LIMIT ?)"
)
_PURGE_DEAD = f"DELETE FROM deliveries WHERE {UNDONE} AND state = 'dead' AND done_at < ?"  # noqa: S608
_DROPPED = "UPDATE subscriptions SET dropped = COALESCE(dropped, 0) + ? WHERE id = ?"
_TALLY = (
    "SELECT s.channel, d.state, COUNT(*), MIN(d.created_at) FROM deliveries AS d"
    " JOIN subscriptions AS s ON s.id = d.subscription_id GROUP BY s.channel, d.state"
)
_MEANWHILE = "AND d.done_at > ? AND d.done_at <= ? AND d.job_id IS NOT NULL"
#: Two walks: what has arrived is found by ``ix_deliveries_done``, and few are dead.
_SETTLED = " ".join(
    ("SELECT s.channel, d.job_id, d.state FROM deliveries AS d",
     "JOIN subscriptions AS s ON s.id = d.subscription_id",
     "WHERE d.state = 'delivered'", _MEANWHILE, "UNION ALL",
     "SELECT s.channel, d.job_id, d.state FROM deliveries AS d",
     "JOIN subscriptions AS s ON s.id = d.subscription_id",
     "WHERE d.state = 'dead'", _MEANWHILE, "LIMIT ?")
)  # fmt: skip
_strings = msgspec.json.Decoder(tuple[str, ...])


class SqlDeliveries:
    """``ports.store.Deliveries`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert_subscription(self, one: Subscription) -> None:
        """Add it."""
        self._link.run(_INSERT, _subscription_row(one))

    def get_subscription(self, id_: str, account_id: str | None = None) -> Subscription:
        """Return it, of that account if given; locked if this is a write."""
        query = sql.select(subscriptions, "WHERE id = ?") + self._link.for_update
        row = self._link.one(query, (id_,))
        if row is None or (account_id is not None and row[1] != account_id):
            word = "webhook" if id_.startswith("whk_") else "channel"
            raise NotFound(f"There is no {word} with that id.")
        return _subscription(row)

    def save_subscription(self, one: Subscription) -> None:
        """Write what an owner may change."""
        self._link.run(
            _SAVE,
            (clean(one.name), json_text(one.events), one.sealed, int(one.active), one.since_seq,
             one.id),
        )  # fmt: skip

    def delete_subscription(self, id_: str) -> None:
        """Remove it and its deliveries."""
        self._link.run("DELETE FROM deliveries WHERE subscription_id = ?", (id_,))
        self._link.run("DELETE FROM subscriptions WHERE id = ?", (id_,))

    def subscriptions(self, account_id: str) -> list[Subscription]:
        """Oldest first."""
        query = sql.select(subscriptions, "WHERE account_id = ? ORDER BY created_at, id")
        return [_subscription(r) for r in self._link.all(query, (account_id,))]

    def listening(self, accounts: Sequence[str]) -> list[Subscription]:
        """Active ones of the accounts, and the operator's."""
        named = list(accounts) or [""]
        query = f"{_LISTEN}{sql.inside('account_id', len(named))})"
        return [_subscription(r) for r in self._link.all(query, named)]

    def mark_failing(self, id_: str, since: datetime | None) -> None:
        """Note since when nothing arrives; a success clears it."""
        null = "IS NOT NULL" if since is None else "IS NULL"
        self._link.run(
            f"UPDATE subscriptions SET failing_since = ? WHERE id = ? AND failing_since {null}",  # noqa: S608  constants only
            (micros_or_none(since), id_),
        )

    def add(self, found: Sequence[Delivery]) -> None:
        """Add those that are not there yet."""
        self._link.many(_ADD, [_row(one) for one in found])

    def waiting(self, now: datetime) -> list[str]:
        """Ids of Subscriptions with something due."""
        rows = self._link.all(claim.WAITING_SUBSCRIPTIONS, (micros(now),))
        return [r[0] for r in rows]

    def claim(self, id_: str, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        """Begin a try of the first due ones: nobody else begins one before ``until``."""
        skip = claim.SKIP_LOCKED if self._link.engine != "sqlite" else ""
        rows = self._link.all(claim.DUE + skip, (id_, micros(now), limit))
        found = [_delivery(r) for r in rows]
        self._link.many(claim.BEGIN_TRY, [(micros(until), one.id) for one in found])
        return [replace(one, tries=one.tries + 1, next_at=until) for one in found]

    def settle(self, one: Delivery) -> bool:
        """Write how a try ended; False if another try has begun since."""
        changed = self._link.run(
            claim.SETTLE_TRY,
            (one.state.value, micros(one.next_at), micros_or_none(one.done_at), one.status,
             clean(one.detail), clean(one.response), one.took_ms, one.id, one.tries),
        )  # fmt: skip
        return changed == 1

    def get_delivery(self, id_: str, subscription_id: str) -> Delivery:
        """Return it."""
        query = sql.select(deliveries, "WHERE id = ? AND subscription_id = ?")
        row = self._link.one(query + self._link.for_update, (id_, subscription_id))
        if row is None:
            raise NotFound("There is no delivery with that id.")
        return _delivery(row)

    def replay(self, one: Delivery) -> None:
        """Write a Delivery that is pending again."""
        self._link.run(
            "UPDATE deliveries SET state = ?, next_at = ?, done_at = NULL, tries = 0 WHERE id = ?",
            (one.state.value, micros(one.next_at), one.id),
        )

    def replay_dead(self, subscription_id: str, now: datetime) -> int:
        """Make all dead ones pending again."""
        return self._link.run(
            "UPDATE deliveries SET state = 'pending', next_at = ?, done_at = NULL, tries = 0"
            " WHERE subscription_id = ? AND state = 'dead'",
            (micros(now), subscription_id),
        )

    def page(
        self,
        subscription_id: str,
        state: str | None,
        after: After | None,
        limit: int,
        offset: int = 0,
    ) -> list[Delivery]:
        """Newest first."""
        terms, values = ["subscription_id = ?"], [subscription_id]
        if state is not None:
            terms.append("state = ?")
            values.append(state)
        if after is not None:
            terms.append("(created_at, id) < (?, ?)")
            values += [micros(after.created_at), after.id]  # type: ignore[list-item]
        tail = f"WHERE {' AND '.join(terms)} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"
        query = sql.select(deliveries, tail)
        return [_delivery(r) for r in self._link.all(query, (*values, limit, offset))]

    def count(self, subscription_id: str) -> int:
        """All of a Subscription."""
        query = "SELECT COUNT(*) FROM deliveries WHERE subscription_id = ?"
        return int(self._link.scalar(query, (subscription_id,)) or 0)

    def trim(self, most: int, limit: int) -> int:
        """Keep the newest that did not arrive; count what is removed."""
        removed = 0
        for id_, n in self._link.all(_FULL, (most,)):
            gone = self._link.run(_TRIM, (id_, min(n - most, limit)))
            self._link.run(_DROPPED, (gone, id_))
            removed += gone
        return removed

    def tally(self) -> list[Tally]:
        """Count by channel and state."""
        return [
            Tally(channel, DeliveryState(state), n, moment(oldest))
            for channel, state, n, oldest in self._link.all(_TALLY)
        ]

    def settled(
        self, since: datetime, until: datetime, limit: int
    ) -> list[tuple[str, str, DeliveryState]]:
        """Return how tries for Jobs ended meanwhile."""
        times = (micros(since), micros(until))
        rows = self._link.all(_SETTLED, (*times, *times, limit))
        return [(channel, job_id, DeliveryState(state)) for channel, job_id, state in rows]

    def purge(self, before: datetime) -> int:
        """Drop what arrived long ago; dead ones stay."""
        return self._link.run(
            "DELETE FROM deliveries WHERE state = 'delivered' AND done_at < ?", (micros(before),)
        )

    def purge_dead(self, before: datetime) -> int:
        """Drop what was given up long ago."""
        return self._link.run(_PURGE_DEAD, (micros(before),))


def _subscription_row(one: Subscription) -> Row:
    return (
        one.id, one.account_id, one.channel, clean(one.name), json_text(one.events),
        micros(one.created_at), one.sealed, int(one.active), one.since_seq, one.job_id,
        one.job_dialect, one.dialect, micros_or_none(one.failing_since), one.dropped,
    )  # fmt: skip


def _subscription(row: Row) -> Subscription:
    (
        id_, account_id, channel, name, events, created_at, sealed, active, since_seq, job_id,
        job_dialect, dialect, failing_since, dropped,
    ) = row  # fmt: skip
    return Subscription(
        id_, account_id, channel, name, _strings.decode(events), moment(created_at),
        bytes(sealed), bool(active), since_seq, job_id, job_dialect, dialect,
        moment_or_none(failing_since), dropped or 0,
    )  # fmt: skip


def _row(one: Delivery) -> Row:
    return (
        one.id, one.subscription_id, one.account_id, one.kind, one.seq, one.job_id,
        micros(one.created_at), clean(one.payload), micros(one.next_at), one.state.value,
        one.tries, micros_or_none(one.done_at), one.status, clean(one.detail),
        clean(one.response), one.took_ms,
    )  # fmt: skip


def _delivery(row: Row) -> Delivery:
    (
        id_, subscription_id, account_id, kind, seq, job_id, created_at, payload, next_at, state,
        tries, done_at, status, detail, response, took_ms,
    ) = row  # fmt: skip
    return Delivery(
        id_, subscription_id, account_id, kind, seq, job_id, moment(created_at), payload,
        moment(next_at), DeliveryState(state), tries, moment_or_none(done_at), status, detail,
        response, took_ms,
    )  # fmt: skip
