"""Money adds up, also when 64 threads want the same credits (G9, G10)."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from tests.integration.store.make import ACC, NOW, account, add, end, job, lease, submit

from trainshed.domain.errors import Conflict, PaymentRequired
from trainshed.domain.ledger import GRANTS, Balance, Entry, HoldState, Unit, transfer
from trainshed.domain.people import Key, User
from trainshed.ports.store import Store, Tx


def balance(store: Store) -> Balance:
    return store.read(lambda tx: tx.ledger.balance(ACC, Unit.CREDIT))


def test_hold_capture_release(store: Store) -> None:
    account(store, 10_000)
    one, two = add(store, job(1), job(2))
    assert balance(store) == Balance(Unit.CREDIT, 10_000, 2_000)
    end(store, lease(store, one), cost=300)
    end(store, lease(store, two), cost=0)
    assert balance(store) == Balance(Unit.CREDIT, 9_700, 0)
    states = [h.state for h in store.read(lambda tx: tx.ledger.holds(ACC, False))]
    assert states == [HoldState.CAPTURED, HoldState.RELEASED]
    assert store.read(lambda tx: tx.ledger.holds(ACC, True)) == []
    assert store.read(lambda tx: tx.ledger.captured(one.id)) == 300
    rows = store.read(lambda tx: tx.ledger.entries(ACC, None, None, 10))
    assert [(after, e.amount, e.kind) for _, after, e in rows] == [
        (9_700, -300, "capture"), (10_000, 10_000, "grant"),
    ]  # fmt: skip
    older = store.read(lambda tx: tx.ledger.entries(ACC, Unit.CREDIT, rows[0][0], 10))
    assert older == rows[1:]
    assert store.read(lambda tx: tx.ledger.entries(ACC, Unit.BOARD_RUN, None, 10)) == []


def test_a_hold_ends_once_and_is_alone(store: Store) -> None:
    account(store)
    one = add(store, job(1))[0]
    held = store.read(lambda tx: tx.ledger.open_hold(one.id))
    assert held is not None
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.ledger.insert_hold(replace(held, id="hld_other")))
    end(store, lease(store, one))
    done = store.read(lambda tx: tx.ledger.holds_of(one.id))[0]
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.ledger.end_hold(done))
    assert store.read(lambda tx: tx.ledger.open_hold(one.id)) is None


def test_legs_must_balance(store: Store) -> None:
    account(store)
    out, into = transfer("t", GRANTS, ACC, 5, Unit.CREDIT, "grant", NOW)
    for legs in ([into], [out, replace(into, amount=4)], [out, replace(into, txn_id="u")],
                 [out, replace(into, unit=Unit.BOARD_RUN)]):  # fmt: skip
        with pytest.raises(Conflict):
            store.write(lambda tx, legs=legs: tx.ledger.post(legs))


def test_sixty_four_want_what_is_there_for_ten(store: Store) -> None:
    account(store, 10_000)
    accepted: list[int] = []
    refused: list[int] = []
    others: list[BaseException] = []
    start = threading.Barrier(64)

    def want(n: int) -> None:
        start.wait()
        try:
            store.write(lambda tx: submit(tx, job(n), 1000) and None)
            accepted.append(n)
        except PaymentRequired:
            refused.append(n)
        except BaseException as error:
            others.append(error)

    threads = [threading.Thread(target=want, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert others == []
    assert (len(accepted), len(refused)) == (10, 54)
    assert balance(store).available == 0
    assert sum(store.read(lambda tx: tx.jobs.counts(ACC)).values()) == 10


def test_what_a_key_used(store: Store) -> None:
    account(store)

    def people(tx: Tx) -> None:
        tx.people.insert_user(User("usr_1", ACC, "u", "", "admin", False, NOW))
        tx.people.insert_key(Key("key_1", ACC, "usr_1", "k", "p", "l", "h", ("write",), NOW))

    store.write(people)
    one, _, _ = add(store, job(1, key_id="key_1"), job(2, key_id="key_1"), job(3))
    assert store.read(lambda tx: tx.ledger.captured_by_key("key_1")) == 2_000
    end(store, lease(store, one), cost=30)
    assert store.read(lambda tx: tx.ledger.captured_by_key("key_1")) == 1_030
    assert store.read(lambda tx: tx.ledger.captured_by_key("key_2")) == 0


def test_a_hold_of_nothing_is_still_a_hold(store: Store) -> None:
    account(store, 0)
    store.write(lambda tx: submit(tx, job(1), 0) and None)
    assert balance(store) == Balance(Unit.CREDIT, 0, 0)


def test_verify_sees_what_is_wrong(url: str) -> None:
    from trainshed.store.engine import open_store

    store = open_store(url)
    account(store, 10_000)
    one = add(store, job(1))[0]

    def break_it(tx: Tx) -> None:
        link = tx.jobs._link  # type: ignore[attr-defined]
        link.run(
            "UPDATE jobs SET live = 1, state = 'RUNNING', n_attempts = 3 WHERE id = ?", (one.id,)
        )
        entry = Entry("txn_odd", ACC, -9_500, Unit.CREDIT, "odd", NOW)
        from trainshed.store.mapping import entry_row
        from trainshed.store.repos.ledger import _POST

        link.run(_POST, entry_row(entry, 123))

    store.write(break_it)
    broken = "\n".join(store.verify())
    store.close()
    for part in ("txn_odd sums to", "says balance 123", "on hold", "marked live", "says it has 3",
                 "by intent run"):  # fmt: skip
        assert part in broken
