"""From the event log to every Subscription: one row for each, claimed, tried, settled, replayed.

The log is followed by a cursor. Rows and cursor are written together, so that a crash neither loses
an event nor sends it under another id.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from trainshed.domain import delivery as rules
from trainshed.domain.delivery import Delivery, DeliveryState, Subscription
from trainshed.domain.errors import Conflict, NotFound, TrainshedError
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.people import Principal, Right
from trainshed.ports.channel import Message, Sent
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.deps import Deps
from trainshed.ports.paging import After
from trainshed.ports.store import Tx
from trainshed.usecases import audit, subscriptions
from trainshed.usecases.traffic import Traffic
from trainshed.usecases.words import words_of

register("deliveries.after_fan_out", "deliveries.after_claim", "deliveries.after_send")

CURSOR = "deliveries.cursor"
PAGE = 500
#: Events that nobody wants move the stored cursor once in so many.
KEEP_EVERY = 5000
#: A try that has not been settled by then is taken for lost; every channel is quicker.
CLAIM = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Try:
    """A Delivery that has been claimed, with all that sending it takes."""

    delivery: Delivery
    subscription: Subscription
    message: Message
    config: Mapping[str, Any] | None = field(repr=False)


def stamp(at: datetime) -> str:
    """Return RFC 3339 in UTC."""
    return at.isoformat().replace("+00:00", "Z")


def cursor(deps: Deps) -> int:
    """Return the number of the last event that was fanned out."""
    return deps.store.read(lambda tx: int(tx.records.get_meta(CURSOR) or 0))


def fan_out(deps: Deps, position: int) -> int:
    """Make Deliveries of the events after ``position``; return how far the log has been read."""
    now = deps.clock.utc_now()
    last, made = deps.store.read(lambda tx: _matched(tx, deps, position, now))
    if not made and last // KEEP_EVERY == position // KEEP_EVERY:
        return last

    def apply(tx: Tx) -> None:
        kept = int(tx.records.get_meta(CURSOR) or 0)
        tx.deliveries.add(made)
        tx.records.set_meta(CURSOR, str(max(kept, last)))

    deps.store.write(apply)
    crashpoint("deliveries.after_fan_out")
    return last


def _matched(tx: Tx, deps: Deps, position: int, now: datetime) -> tuple[int, list[Delivery]]:
    page = tx.events.page(position, PAGE)
    if not page:
        return position, []
    listening = tx.deliveries.listening(sorted({e.account_id for e in page}))
    jobs: dict[str, Job | None] = {}
    made = []
    for event in page if listening else ():
        job = _job(tx, event.job_id, jobs)
        for one in listening:
            name = words_of(deps, one.dialect).name(event, job)
            if name and rules.wants(one, event, name, job.dialect if job else None):
                made.append(_delivery(tx, deps, one, event, name, job, now))
    return page[-1].seq, made


def _job(tx: Tx, job_id: str | None, seen: dict[str, Job | None]) -> Job | None:
    if job_id is None:
        return None
    if job_id not in seen:
        try:
            seen[job_id] = tx.jobs.get(job_id)
        except NotFound:  # deleted since: its id is still told
            seen[job_id] = None
    return seen[job_id]


def _delivery(
    tx: Tx, deps: Deps, one: Subscription, event: Event, name: str, job: Job | None, now: datetime
) -> Delivery:
    called = public_id(tx, one.job_dialect or one.dialect, job) if job else None
    data = words_of(deps, one.dialect).data(event, name, job, called)
    body = {"type": name, "timestamp": stamp(event.at), "data": data}
    account = None if one.account_id is None else event.account_id
    return Delivery(
        rules.delivery_id(event.seq, one.id), one.id, account, name, event.seq,
        event.job_id, now, msgspec.json.encode(body).decode(), now,
    )  # fmt: skip


def public_id(tx: Tx, dialect: str, job: Job) -> str | None:
    """Return what a dialect calls a Job: it has an id for it, or for the Schedule that made it."""
    found = tx.records.public_id(dialect, "job", job.id)
    made_by = None if found else tx.schedules.schedule_of(job.id)
    return found or (tx.records.public_id(dialect, "schedule", made_by) if made_by else None)


def claim(deps: Deps, traffic: Traffic) -> list[Try]:
    """Begin tries of what is due, a few of each destination, fairly; never waits for one."""
    if traffic.left <= 0:
        return []
    now = deps.clock.utc_now()
    waiting = deps.store.read(lambda tx: _waiting(tx, now))
    mono = deps.clock.monotonic()
    rooms = []
    for one in traffic.fair(waiting):
        channel = deps.channels.get(one.channel)
        rooms.append((one, traffic.room(one, channel, mono)))

    def apply(tx: Tx) -> list[tuple[Subscription, Delivery]]:
        left, out = traffic.left, []
        for one, room in rooms:
            if min(room, left) > 0:
                found = tx.deliveries.claim(one.id, now, now + CLAIM, min(room, left))
                left -= len(found)
                out += [(one, d) for d in found]
        return out

    if not any(room > 0 for _, room in rooms):
        return []
    found = deps.store.write(apply)
    crashpoint("deliveries.after_claim")
    for one, _ in found:
        traffic.begin(one, deps.channels.get(one.channel), mono)
    return [_try(deps, one, d, now) for one, d in found]


def _waiting(tx: Tx, now: datetime) -> list[Subscription]:
    found = (tx.deliveries.get_subscription(i) for i in tx.deliveries.waiting(now))
    return [s for s in found if s.active]


def _try(deps: Deps, one: Subscription, found: Delivery, now: datetime) -> Try:
    body = msgspec.json.decode(found.payload, type=dict[str, Any])
    message = Message(found.id, found.kind, body, now)
    try:
        return Try(found, one, message, subscriptions.opened(deps, one))
    except TrainshedError:
        return Try(found, one, message, None)


async def send(deps: Deps, one: Try) -> Sent:
    """Try once; whatever goes wrong is an answer."""
    channel = deps.channels.get(one.subscription.channel)
    if channel is None or one.config is None:
        return Sent(False, detail="This server cannot use the channel's configuration.")
    sent = await channel.send(one.config, one.message)
    crashpoint("deliveries.after_send")
    return sent


def settling(deps: Deps, one: Try, sent: Sent, took_s: float) -> Callable[[Tx], None]:
    """Return the transaction that writes how a try ended."""
    now = deps.clock.utc_now()
    told = replace(
        one.delivery, status=sent.status, detail=sent.detail[:500],
        response=sent.response[: rules.RESPONSE_CHARS], took_ms=round(took_s * 1000),
    )  # fmt: skip
    if sent.ok:
        done = rules.succeeded(told, now)
    else:
        done = rules.failed(told, now, random.random(), sent.retry_after_s)

    def apply(tx: Tx) -> None:
        if tx.deliveries.settle(done):
            tx.deliveries.mark_failing(one.subscription.id, None if sent.ok else now)

    return apply


def page(
    deps: Deps, principal: Principal, id_: str, state: str | None, after: After | None, limit: int
) -> list[Delivery]:
    """Return a Subscription's Deliveries, newest first. Raises NotFound."""

    def load(tx: Tx) -> list[Delivery]:
        tx.deliveries.get_subscription(id_, principal.account_id)
        return tx.deliveries.page(id_, state, after, limit)

    return deps.store.read(load)


def page_from(
    deps: Deps, principal: Principal, id_: str, offset: int, limit: int
) -> tuple[list[Delivery], int]:
    """Return a Subscription's Deliveries, newest first, and how many there are. Raises NotFound."""

    def load(tx: Tx) -> tuple[list[Delivery], int]:
        tx.deliveries.get_subscription(id_, principal.account_id)
        return tx.deliveries.page(id_, None, None, limit, offset), tx.deliveries.count(id_)

    return deps.store.read(load)


def get(deps: Deps, principal: Principal, id_: str, delivery_id: str) -> Delivery:
    """Return one Delivery. Raises NotFound."""

    def load(tx: Tx) -> Delivery:
        tx.deliveries.get_subscription(id_, principal.account_id)
        return tx.deliveries.get_delivery(delivery_id, id_)

    return deps.store.read(load)


def test(deps: Deps, principal: Principal, id_: str) -> Delivery:
    """Queue a test of a Subscription. Raises NotFound."""
    principal.need(Right.WRITE)
    now, made_id = deps.clock.utc_now(), deps.ids.new("delivery")

    def apply(tx: Tx) -> Delivery:
        one = tx.deliveries.get_subscription(id_, principal.account_id)
        if not one.active:
            raise Conflict("It is inactive; switch it on first.")
        data = {"subject": one.name, "message": f"A test of {one.name}."}
        body = {"type": rules.TEST, "timestamp": stamp(now), "data": data}
        made = Delivery(
            made_id, one.id, one.account_id, rules.TEST, 0, None, now,
            msgspec.json.encode(body).decode(), now,
        )  # fmt: skip
        tx.deliveries.add([made])
        return made

    made = deps.store.write(apply)
    deps.bus.notify("deliveries")
    return made


def replay(deps: Deps, principal: Principal, id_: str, delivery_id: str) -> Delivery:
    """Send one Delivery again, under its own id.

    Raises:
        NotFound. Conflict: it is still pending.
    """
    principal.need(Right.WRITE)
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> Delivery:
        tx.deliveries.get_subscription(id_, principal.account_id)
        found = tx.deliveries.get_delivery(delivery_id, id_)
        if found.state is DeliveryState.PENDING:
            raise Conflict("It is still pending and will be tried by itself.")
        again = rules.replayed(found, now)
        tx.deliveries.replay(again)
        audit.line(tx, principal, principal.account_id, "delivery.replay", found.id, now)
        return again

    again = deps.store.write(apply)
    deps.bus.notify("deliveries")
    return again


def replay_dead(deps: Deps, principal: Principal, id_: str) -> int:
    """Send every dead Delivery of a Subscription again; return how many. Raises NotFound."""
    principal.need(Right.WRITE)
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> int:
        tx.deliveries.get_subscription(id_, principal.account_id)
        n = tx.deliveries.replay_dead(id_, now)
        audit.line(tx, principal, principal.account_id, "delivery.replay_dead", id_, now, n=n)
        return n

    n = deps.store.write(apply)
    deps.bus.notify("deliveries")
    return n
