"""Deliveries on both engines: claimed once, settled by the newest try, followed without a gap."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.integration.store.make import ACC, NOW, account, at

from trainshed.domain import delivery as rules
from trainshed.domain.delivery import Delivery, DeliveryState, Subscription
from trainshed.domain.errors import NotFound
from trainshed.ports.paging import After
from trainshed.ports.store import Store
from trainshed.store.engine import open_store

HOOK = "whk_" + "1" * 32


def hook(store: Store, id_: str = HOOK, owner: str | None = ACC) -> Subscription:
    one = Subscription(id_, owner, "webhook", "hook", ("*",), NOW, b"sealed")
    store.write(lambda tx: tx.deliveries.insert_subscription(one))
    return one


def way(n: int, hook_id: str = HOOK, owner: str | None = ACC) -> Delivery:
    return Delivery(
        rules.delivery_id(n, hook_id), hook_id, owner, "job.queued", n, None, at(n), "{}", at(n)
    )


def claim(store: Store, now: float, until: float, limit: int = 100) -> list[Delivery]:
    return store.write(lambda tx: tx.deliveries.claim(HOOK, at(now), at(until), limit))


def test_round_trip(store: Store) -> None:
    account(store)
    one = hook(store)
    assert store.read(lambda tx: tx.deliveries.get_subscription(HOOK, ACC)) == one
    with pytest.raises(NotFound):
        store.read(lambda tx: tx.deliveries.get_subscription(HOOK, "acc_other"))
    changed = replace(one, name="new", events=("job.*",), active=False, sealed=b"x", since_seq=4)
    store.write(lambda tx: tx.deliveries.save_subscription(changed))
    assert store.read(lambda tx: tx.deliveries.subscriptions(ACC)) == [changed]
    assert store.read(lambda tx: tx.deliveries.listening([ACC])) == []
    store.write(lambda tx: tx.deliveries.mark_failing(HOOK, at(5)))
    store.write(lambda tx: tx.deliveries.mark_failing(HOOK, at(9)))
    assert store.read(lambda tx: tx.deliveries.get_subscription(HOOK)).failing_since == at(5)
    store.write(lambda tx: tx.deliveries.mark_failing(HOOK, None))
    store.write(lambda tx: tx.deliveries.add([way(1), way(2)]))
    store.write(lambda tx: tx.deliveries.delete_subscription(HOOK))
    assert store.read(lambda tx: tx.deliveries.subscriptions(ACC)) == []


def test_tally_and_what_was_settled_meanwhile(store: Store) -> None:
    account(store)
    hook(store)
    job = "job_" + "1" * 32
    arrived = replace(way(1), state=DeliveryState.DELIVERED, done_at=at(10), job_id=job)
    dead = replace(way(2), state=DeliveryState.DEAD, done_at=at(20), job_id=job)
    of_no_job = replace(way(3), state=DeliveryState.DEAD, done_at=at(15))
    store.write(lambda tx: tx.deliveries.add([arrived, dead, of_no_job, way(5), way(4)]))
    found = {one.state: one for one in store.read(lambda tx: tx.deliveries.tally())}
    assert {state: one.n for state, one in found.items()} == {
        DeliveryState.DELIVERED: 1, DeliveryState.DEAD: 2, DeliveryState.PENDING: 2
    }  # fmt: skip
    assert found[DeliveryState.PENDING].oldest == at(4)
    assert found[DeliveryState.PENDING].channel == "webhook"

    def settled(since: int, until: int, limit: int = 10) -> list[tuple[str, str, DeliveryState]]:
        return store.read(lambda tx: tx.deliveries.settled(at(since), at(until), limit))

    assert settled(9, 20) == [
        ("webhook", job, DeliveryState.DELIVERED), ("webhook", job, DeliveryState.DEAD)
    ]  # fmt: skip
    assert settled(10, 19) == []
    assert len(settled(0, 99, limit=1)) == 1


def test_the_operators_hear_of_every_account(store: Store) -> None:
    account(store)
    hook(store, "chn_" + "1" * 32, None)
    assert len(store.read(lambda tx: tx.deliveries.listening([ACC]))) == 1
    assert len(store.read(lambda tx: tx.deliveries.listening([]))) == 1


def test_a_claim_is_one_try_until_its_time(store: Store) -> None:
    account(store)
    hook(store)
    store.write(lambda tx: tx.deliveries.add([way(n) for n in range(1, 6)]))
    store.write(lambda tx: tx.deliveries.add([way(n) for n in range(1, 6)]))
    assert store.read(lambda tx: tx.deliveries.waiting(at(0))) == []
    assert store.read(lambda tx: tx.deliveries.waiting(at(3))) == [HOOK]
    first = claim(store, 3, 33)
    assert [d.seq for d in first] == [1, 2, 3]
    assert {d.tries for d in first} == {1}
    assert claim(store, 3, 33) == []
    late = claim(store, 40, 70, limit=1)
    assert [(d.seq, d.tries) for d in late] == [(4, 1)]
    again = claim(store, 40, 70)
    assert sorted((d.seq, d.tries) for d in again) == [(1, 2), (2, 2), (3, 2), (5, 1)]
    done = rules.succeeded(first[0], at(41))
    assert not store.write(lambda tx: tx.deliveries.settle(done)), "a newer try has begun"
    newer = next(d for d in again if d.seq == 1)
    assert store.write(lambda tx: tx.deliveries.settle(rules.succeeded(newer, at(41))))
    assert not store.write(lambda tx: tx.deliveries.settle(rules.failed(newer, at(42), 0)))
    found = store.read(lambda tx: tx.deliveries.get_delivery(newer.id, HOOK))
    assert (found.state, found.done_at) == (DeliveryState.DELIVERED, at(41))


def test_dead_ones_stay_and_come_back(store: Store) -> None:
    account(store)
    hook(store)
    dead = replace(way(1), state=DeliveryState.DEAD, done_at=at(2), tries=11, detail="a\0b")
    arrived = replace(way(2), state=DeliveryState.DELIVERED, done_at=at(2))
    store.write(lambda tx: tx.deliveries.add([dead, arrived]))
    assert store.write(lambda tx: tx.deliveries.purge(at(10))) == 1
    page = store.read(lambda tx: tx.deliveries.page(HOOK, "dead", None, 10))
    assert [d.id for d in page] == [dead.id]
    assert store.write(lambda tx: tx.deliveries.purge_dead(at(2))) == 0
    assert store.write(lambda tx: tx.deliveries.replay_dead(HOOK, at(20))) == 1
    (again,) = claim(store, 20, 50)
    assert (again.id, again.tries, again.seq) == (dead.id, 1, 1)
    store.write(lambda tx: tx.deliveries.add([replace(dead, id="dlv_9")]))
    assert store.write(lambda tx: tx.deliveries.purge_dead(at(3))) == 1
    page = store.read(lambda tx: tx.deliveries.page(HOOK, None, None, 10))
    assert [d.id for d in page] == [dead.id], "what waits stays"


def test_pages_are_newest_first(store: Store) -> None:
    account(store)
    hook(store)
    store.write(lambda tx: tx.deliveries.add([way(n) for n in range(1, 8)]))
    seen: list[int] = []
    after = None
    while True:
        page = store.read(lambda tx, a=after: tx.deliveries.page(HOOK, None, a, 3))  # type: ignore[misc]
        if not page:
            break
        seen += [d.seq for d in page]
        after = After(page[-1].created_at, page[-1].id)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_two_servers_never_claim_the_same(pg_url: str) -> None:
    stores = [open_store(pg_url), open_store(pg_url)]
    account(stores[0])
    hook(stores[0])
    stores[0].write(lambda tx: tx.deliveries.add([way(n) for n in range(1, 301)]))
    begin = threading.Barrier(2)

    def work(store: Store) -> list[str]:
        begin.wait()
        found: list[str] = []
        while got := claim(store, 1000, 1000 + 60, limit=7):
            found += [d.id for d in got]
        return found

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(work, stores)
    missed = [d.id for d in claim(stores[0], 1000, 1060, 1000)]  # what one had locked, if any
    assert sorted(one + two + missed) == sorted(rules.delivery_id(n, HOOK) for n in range(1, 301))
    for store in stores:
        assert store.verify() == []
        store.close()


def test_many_pending_cost_one_probe_each(store: Store) -> None:
    """Waiting subscriptions are found by skipping, not by reading what they wait for."""
    account(store)
    ids = [f"whk_{n:032x}" for n in range(20)]
    for one in ids:
        hook(store, one)
        store.write(lambda tx, o=one: tx.deliveries.add([way(n, o) for n in range(1, 50)]))  # type: ignore[misc]
    assert store.read(lambda tx: tx.deliveries.waiting(NOW + timedelta(days=1))) == ids


def test_a_backlog_is_bounded_and_says_so(store: Store) -> None:
    """Dead ones go first, then the oldest; what arrived does not count."""
    account(store)
    hook(store)
    other = "whk_" + "2" * 32
    hook(store, other)
    store.write(lambda tx: tx.deliveries.add([way(n) for n in range(1, 13)]))
    store.write(lambda tx: tx.deliveries.add([way(n, other) for n in range(1, 6)]))
    for found in claim(store, 100, 200, 2):
        store.write(lambda tx, f=found: tx.deliveries.settle(rules.succeeded(f, at(101))))
    last = way(12)
    dead = replace(last, state=DeliveryState.DEAD, done_at=at(102))
    store.write(lambda tx: tx.deliveries.claim(HOOK, at(100), at(200), 100))
    store.write(lambda tx: tx.deliveries.settle(replace(dead, tries=1)))
    trim = lambda most: store.write(lambda tx: tx.deliveries.trim(most, 3))  # noqa: E731
    assert [trim(5), trim(5), trim(5)] == [3, 2, 0]
    left = store.read(lambda tx: tx.deliveries.page(HOOK, "pending", None, 100))
    assert [one.seq for one in left] == [11, 10, 9, 8, 7]
    assert store.read(lambda tx: tx.deliveries.page(HOOK, "dead", None, 100)) == []
    assert store.read(lambda tx: tx.deliveries.count(HOOK)) == 7
    assert store.read(lambda tx: tx.deliveries.get_subscription(HOOK)).dropped == 5
    assert store.read(lambda tx: tx.deliveries.get_subscription(other)).dropped == 0
    rows = store.read(lambda tx: tx.deliveries.page(HOOK, None, None, 2, 1))
    assert [one.seq for one in rows] == [10, 9]
    assert store.verify() == []
