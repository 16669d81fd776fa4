"""Benches on both engines: a measurement goes to one bench, and only for an Attempt that lives."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.integration.store.make import ACC, account, add, at, end, job, lease

from trainshed.domain.attempt import Attempt
from trainshed.domain.bench import LEASE, Bench, Measured, Measurement
from trainshed.ports.store import Store
from trainshed.store.engine import open_store

BOARD = "nrf52840dk"


def bench(store: Store, n: int, board: str = BOARD) -> Bench:
    one = Bench(f"bch_{n:032x}", board, f"desk {n}", ACC, at(n), at(n))
    store.write(lambda tx: tx.benches.attach(one))
    return one


def ask(store: Store, n: int, board: str = BOARD) -> Attempt:
    """A Job that runs and has asked, ``n`` seconds after the first."""
    held = lease(store, add(store, job(n))[0])
    one = Measurement(held.id, ACC, board, at(n))
    store.write(lambda tx: tx.benches.ask(one, b"image %d" % n))
    return held


def take(store: Store, one: Bench, since: float = 0.0) -> str | None:
    found = store.write(lambda tx: tx.benches.take(one, at(since) - LEASE))
    return None if found is None else found.attempt_id


def test_round_trip(store: Store) -> None:
    account(store)
    one, other = bench(store, 1), bench(store, 2, "nrf5340dk")
    assert store.read(lambda tx: tx.benches.all()) == [one, other]
    held = ask(store, 1)
    assert take(store, other) is None
    assert take(store, one) == held.id
    store.write(lambda tx: tx.benches.ask(Measurement(held.id, ACC, BOARD, at(9)), b"twice"))
    assert store.read(lambda tx: tx.benches.parcel(held.id, one.id)) == b"image 1"
    assert store.read(lambda tx: tx.benches.parcel(held.id, other.id)) is None
    found = Measured(bytes(range(256)), "")
    assert not store.write(lambda tx: tx.benches.answer(held.id, other.id, found, at(3)))
    assert store.write(lambda tx: tx.benches.answer(held.id, one.id, found, at(3)))
    assert not store.write(lambda tx: tx.benches.answer(held.id, one.id, found, at(4)))
    assert store.read(lambda tx: tx.benches.answer_of(held.id)) == found
    (kept,) = store.read(lambda tx: tx.benches.measurements())
    assert kept == Measurement(held.id, ACC, BOARD, at(1), one.id, at(3))
    store.write(lambda tx: tx.benches.seen(one.id, at(9)))
    assert store.read(lambda tx: tx.benches.get(one.id)) == replace(one, seen_at=at(9))
    store.write(lambda tx: tx.benches.detach(one.id))
    store.write(lambda tx: tx.benches.forget(held.id))
    assert store.read(lambda tx: (tx.benches.all(), tx.benches.measurements())) == ([other], [])


def test_what_belongs_to_an_ended_attempt_is_for_nobody(store: Store) -> None:
    account(store)
    one, other = bench(store, 1), bench(store, 2)
    over, taken, next_ = ask(store, 1), ask(store, 2), ask(store, 3)
    end(store, over)
    assert take(store, one) == taken.id
    end(store, taken)
    assert store.read(lambda tx: tx.benches.parcel(taken.id, one.id)) is None
    assert not store.write(lambda tx: tx.benches.answer(taken.id, one.id, Measured(b"x"), at(9)))
    assert take(store, one) == next_.id
    assert take(store, other) is None


@pytest.fixture
def stores(url: str, store: Store) -> Iterator[list[Store]]:
    """Two servers' on one database, where several may be."""
    second = [] if url.startswith("sqlite") else [open_store(url)]
    yield [store, *second]
    for one in second:
        one.close()


def test_each_goes_to_one_of_many(stores: list[Store]) -> None:
    """As many threads as benches, all at once, again and again."""
    account(stores[0])
    benches = [bench(stores[0], n) for n in range(1, 5)]
    for attempt in range(5):
        asked = {ask(stores[0], 10 * attempt + n).id for n in range(1, 5)}
        start = threading.Barrier(len(benches))

        def grab(n: int, start: threading.Barrier = start) -> str | None:
            start.wait(30)
            return take(stores[n % len(stores)], benches[n])

        with ThreadPoolExecutor(len(benches)) as all_:
            got = list(all_.map(grab, range(len(benches))))
        assert sorted(x for x in got if x) == sorted(asked), "one each, none twice, none left"
        for n, one in enumerate(benches):
            done = (got[n] or "", one.id, Measured(b"x"), at(50))
            assert stores[0].write(lambda tx, done=done: tx.benches.answer(*done))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE measurements SET account_id = 'acc_other'", "of account acc_other, its attempt"),
        ("UPDATE measurements SET answered_at = 1", "is answered at 1"),
        ("UPDATE measurements SET answer = parcel", "is answered at None"),
        ("UPDATE measurements SET parcel = NULL", "is answered at None"),
        ("UPDATE measurements SET failure = 'x'", "is answered at None"),
    ],
)
def test_verify_finds_what_is_no_measurement(url: str, sql: str, words: str) -> None:
    with contextlib.closing(open_store(url)) as store:
        account(store)
        bench(store, 1)
        ask(store, 1)
        assert store.verify() == []
        store.write(lambda tx: tx.benches._link.run(sql))  # type: ignore[attr-defined]
        (broken,) = store.verify()
    assert broken.startswith("benches: ")
    assert words in broken
