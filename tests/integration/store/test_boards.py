"""Runs on boards on both engines: held and taken whole, given once a period, numbered once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.integration.store.make import ACC, NOW, account, add, at, job, lease

from trainshed.domain import ledger
from trainshed.domain.attempt import Ending, ended
from trainshed.domain.errors import PaymentRequired
from trainshed.domain.job import Job, JobSpec, derived
from trainshed.domain.ledger import MICRO, Balance, Unit
from trainshed.domain.people import Account, Key, User
from trainshed.domain.pricing import BOARDS, BoardPlan
from trainshed.domain.resources import Pool
from trainshed.domain.states import AttemptState, Intent, JobState, Reason
from trainshed.ports.deps import Policy
from trainshed.ports.store import Store, Tx
from trainshed.usecases import billing, grants, numbers
from trainshed.usecases.billing import Stamp

POLICY = Policy(board_plans=(BoardPlan("free", 2),))
POOLS = {"boards": BOARDS, "local-cpu": Pool("local-cpu", None, 0, MICRO)}
SPEC = JobSpec(workload="board", command=("x",), labels={"board": "rpi_pico"})


def begin(store: Store) -> None:
    account(store, 10**9)
    store.write(lambda tx: grants.begin_plan(tx, POLICY, ACC, "txn_plan", NOW))


def ask(store: Store, n: int, **changes: object) -> Job:
    made = replace(job(n, spec=SPEC), pool="boards", **changes)

    def apply(tx: Tx) -> None:
        tx.jobs.insert(made, None)
        billing.reserve(tx, made, (), BOARDS, Stamp(at(n), f"txn_{n}", f"hld_{n}"))

    store.write(apply)
    return made


def runs(store: Store) -> Balance:
    return store.read(lambda tx: tx.ledger.balance(ACC, Unit.BOARD_RUN))


@pytest.mark.parametrize(
    ("ending", "intent", "left"),
    [
        (Ending("exited", 0), Intent.RUN, 1),
        (Ending("exited", 10), Intent.RUN, 1),
        (Ending("exited", 20), Intent.RUN, 2),
        (Ending("signalled", signal=9), Intent.RUN, 2),
        (Ending("timeout"), Intent.RUN, 2),
        (Ending("lost"), Intent.RUN, 2),
        (Ending("exited", 0, stopped_by="cancel"), Intent.CANCEL, 1),
    ],
    ids=["done", "model", "platform", "killed", "late", "lost", "deleted"],
)
def test_a_run_is_taken_whole_or_not_at_all(
    store: Store, ending: Ending, intent: Intent, left: int
) -> None:
    begin(store)
    one = ask(store, 1)
    assert runs(store) == Balance(Unit.BOARD_RUN, 2 * MICRO, MICRO)
    live = replace(lease(store, one), state=AttemptState.RUNNING, started_at=at(110))

    def apply(tx: Tx) -> None:
        assert tx.attempts.save_if_held(live)
        done = ended(live, intent, ending, at(200))
        assert tx.attempts.save_if_held(done)
        billing.settle(tx, one, [done], POOLS, Stamp(at(200), "txn_end", "hld_end"))
        over = replace(
            tx.jobs.get(one.id), intent=intent, outcome=JobState.FAILED, reason=Reason.EXIT_CODE,
            ended_at=at(200),
        )  # fmt: skip
        tx.jobs.save(derived(over, None))

    store.write(apply)
    assert runs(store) == Balance(Unit.BOARD_RUN, left * MICRO, 0)
    assert store.read(lambda tx: tx.ledger.balance(ACC, Unit.CREDIT)).balance == 10**9


def test_no_more_runs_than_there_are(store: Store) -> None:
    begin(store)
    refused: list[PaymentRequired] = []

    def one(n: int) -> None:
        try:
            ask(store, n)
        except PaymentRequired as error:
            refused.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 10
    assert "no available runs" in refused[0].detail
    assert runs(store).available == 0


def test_a_spending_limit_is_one_of_credits(store: Store) -> None:
    begin(store)
    user = User("usr_1", ACC, "one", "x", "admin", False, NOW)
    key = Key("key_1", ACC, user.id, "k", "ts_", "0" * 8, "x", ("write",), NOW,
              spend_limit_ucredits=1000)  # fmt: skip
    store.write(lambda tx: tx.people.insert_user(user))
    store.write(lambda tx: tx.people.insert_key(key))
    add(store, job(1, key_id="key_1"))
    ask(store, 2, key_id="key_1")
    assert store.read(lambda tx: tx.ledger.captured_by_key("key_1")) == 1000


def test_what_is_on_boards(store: Store) -> None:
    begin(store)
    one, two = ask(store, 1), ask(store, 2)
    add(store, job(3))
    lease(store, two)
    found = store.read(lambda tx: tx.jobs.on_boards(10))
    assert [(j.id, live) for j, live in found] == [(one.id, False), (two.id, True)]


def test_accounts_are_due_once_a_period(store: Store) -> None:
    begin(store)
    never = Account("acc_" + "2" * 32, "never", NOW)
    store.write(lambda tx: tx.people.insert_account(never))
    kept = store.read(lambda tx: tx.people.get_account(ACC))
    assert (kept.plan, kept.renews_at) == ("", NOW + timedelta(days=30))
    assert store.read(lambda tx: tx.people.due(NOW + timedelta(days=29), 9)) == []
    later = NOW + timedelta(days=100)
    assert [a.id for a in store.read(lambda tx: tx.people.due(later, 9))] == [ACC]
    ask(store, 1)
    renewed = store.write(lambda tx: grants.begin_plan(tx, POLICY, ACC, "txn_again", later))
    assert renewed.renews_at == NOW + timedelta(days=120)
    assert runs(store) == Balance(Unit.BOARD_RUN, 3 * MICRO, MICRO)
    assert store.read(lambda tx: tx.people.due(later, 9)) == []


def test_numbers_run_and_are_never_given_twice(store: Store) -> None:
    account(store)
    drawn: list[int] = []

    def draw(n: int) -> None:
        drawn.append(store.write(lambda tx: numbers.draw(tx, "mimaas", "request", f"job_{n}", ACC)))

    threads = [threading.Thread(target=draw, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == list(range(1, 17))
    names = {store.read(lambda tx, n=n: numbers.object_of(tx, "mimaas", "request", n))  # type: ignore[misc]
             for n in drawn}  # fmt: skip
    assert names == {f"job_{n}" for n in range(16)}
    assert store.read(lambda tx: numbers.object_of(tx, "mimaas", "request", 2**60)) is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE holds SET unit = 'credit'",
        "UPDATE holds SET amount = 500000",
        "UPDATE jobs SET pool = 'local-cpu' WHERE pool = 'boards'",
    ],
)
def test_verify_finds_what_is_no_run(store: Store, sql: str) -> None:
    begin(store)
    ask(store, 1)
    before = store.read(lambda tx: [tx.jobs._link.one("SELECT unit, amount FROM holds"),  # type: ignore[attr-defined]
                                    tx.jobs._link.one("SELECT pool FROM jobs")])  # fmt: skip
    store.write(lambda tx: tx.jobs._link.run(sql))  # type: ignore[attr-defined]
    assert any(words.startswith("holds: hld_1") for words in store.verify())
    (unit, amount), (pool,) = before
    store.write(
        lambda tx: tx.jobs._link.run("UPDATE holds SET unit = ?, amount = ?", (unit, amount))  # type: ignore[attr-defined]
    )
    store.write(lambda tx: tx.jobs._link.run("UPDATE jobs SET pool = ?", (pool,)))  # type: ignore[attr-defined]


def test_a_refusal_names_its_unit() -> None:
    for unit, words in ((Unit.CREDIT, "credits"), (Unit.BOARD_RUN, "no available runs")):
        with pytest.raises(PaymentRequired, match=words):
            ledger.open_hold("h", ACC, "j", 1, Balance(unit, 0, 0), NOW)
