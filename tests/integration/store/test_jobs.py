"""Jobs, Attempts and the queue, alike on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.integration.store.make import ACC, account, add, at, attempt, end, job, lease, submit

from trainshed.domain.errors import Conflict, IllegalTransition, NotFound
from trainshed.domain.job import JobSpec, cancel, derived
from trainshed.domain.ledger import settle
from trainshed.domain.states import AttemptState, JobState, Reason
from trainshed.ports.paging import After
from trainshed.ports.store import JobFilter, Store, Tx

OTHER = "acc_" + "2" * 32


def test_a_job_comes_back_as_it_went(store: Store) -> None:
    account(store)
    spec = JobSpec(command=("a", "ü"), params={"x": [1, {"y": None}]}, labels={"team": "a"})
    one = job(1, spec=spec, message="why\0not", retry_of="job_x", key_id=None)
    store.write(lambda tx: submit(tx, one) and None)
    found = store.read(lambda tx: tx.jobs.get(one.id, ACC))
    assert found == replace(one, message="why\ufffdnot")
    with pytest.raises(NotFound):
        store.read(lambda tx: tx.jobs.get(one.id, OTHER))


def test_env_is_apart(store: Store) -> None:
    account(store)
    one, two = job(1), add(store, job(2))[0]

    def apply(tx: Tx) -> None:
        submit(tx, one)
        tx.jobs.insert(
            replace(
                job(3), outcome=JobState.FAILED, reason=Reason.LOST, ended_at=at(1),
                state=JobState.FAILED,
            ),
            b"\0sealed",
        )  # fmt: skip

    store.write(apply)
    assert store.read(lambda tx: tx.jobs.env(job(3).id)) == b"\0sealed"
    assert store.read(lambda tx: tx.jobs.env(two.id)) is None


def test_same_id_twice_is_a_conflict(store: Store) -> None:
    account(store)
    add(store, job(1))
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.jobs.insert(job(1), None))
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.jobs.save(job(9)))


def test_outcome_is_written_once(store: Store) -> None:
    account(store)
    one = add(store, job(1))[0]
    end(store, lease(store, one))
    done = store.read(lambda tx: tx.jobs.get(one.id))
    store.write(lambda tx: tx.jobs.save(replace(done, name="renamed")))
    for wrong in (JobState.FAILED, None):
        with pytest.raises(IllegalTransition):
            store.write(lambda tx, w=wrong: tx.jobs.save(replace(done, outcome=w)))
    assert store.read(lambda tx: tx.jobs.get(one.id)).outcome is JobState.SUCCEEDED


def test_one_live_attempt_and_fenced_writes(store: Store) -> None:
    account(store)
    one = add(store, job(1))[0]
    held = lease(store, one)
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.attempts.insert(attempt(one, 2)))

    def caught(tx) -> bool:  # type: ignore[no-untyped-def]
        try:
            tx.attempts.insert(attempt(one, 2))
        except Conflict:
            return tx.jobs.get(one.id).n_attempts == 1  # the transaction goes on
        return False

    assert store.write(caught)
    stale = replace(held, token=7, state=AttemptState.RUNNING)
    assert not store.write(lambda tx: tx.attempts.save_if_held(stale))
    running = replace(held, state=AttemptState.RUNNING, started_at=at(101), handle={"pid": 1})

    def start(tx) -> bool:  # type: ignore[no-untyped-def]
        tx.jobs.save(derived(tx.jobs.get(one.id), AttemptState.RUNNING))
        return bool(tx.attempts.save_if_held(running))

    assert store.write(start)
    assert store.read(lambda tx: tx.attempts.live()) == [running]
    assert store.read(lambda tx: tx.attempts.live_of(one.id)) == running
    end(store, running)
    late = replace(running, state=AttemptState.RUNNING, reason=None)
    assert not store.write(lambda tx: tx.attempts.save_if_held(late))
    assert store.read(lambda tx: tx.attempts.live_of(one.id)) is None
    assert store.read(lambda tx: tx.attempts.of_jobs([one.id, "job_no"]))["job_no"] == []


def test_renew_is_fenced_and_never_goes_back(store: Store) -> None:
    account(store)
    held = lease(store, add(store, job(1))[0])
    store.write(lambda tx: tx.attempts.renew({held.id: (held.token, at(500)), "att_x": (1, at(1))}))
    store.write(lambda tx: tx.attempts.renew({held.id: (held.token, at(400))}))
    store.write(lambda tx: tx.attempts.renew({held.id: (99, at(900))}))
    assert store.read(lambda tx: tx.attempts.get(held.id)).renewed_at == at(500)


def test_usage_counts_core_seconds_since(store: Store) -> None:
    account(store)
    one, two = add(store, job(1), job(2))
    first = replace(lease(store, one), started_at=at(100))
    end(store, first)  # ends at 200
    second = replace(lease(store, two), state=AttemptState.RUNNING, started_at=at(100))

    def start(tx) -> None:  # type: ignore[no-untyped-def]
        tx.jobs.save(derived(tx.jobs.get(two.id), AttemptState.RUNNING))
        tx.attempts.save_if_held(replace(second, renewed_at=at(160)))

    store.write(start)
    assert store.read(lambda tx: tx.attempts.usage(at(0))) == {ACC: pytest.approx(160.0)}
    assert store.read(lambda tx: tx.attempts.usage(at(150))) == {ACC: pytest.approx(60.0)}
    assert store.read(lambda tx: tx.attempts.usage(at(300))) == {}


def test_queue_order_backoff_and_what_is_ahead(store: Store) -> None:
    account(store)
    account(store, id_=OTHER, name="two")
    low, high, waits, mine = add(
        store,
        job(1),
        job(2, spec=JobSpec(command=("x",), priority=5)),
        job(3, not_before=at(1000)),
        job(4, OTHER),
    )
    busy = add(store, job(5))[0]
    lease(store, busy)

    def heads(now: float, n: int) -> dict[str, list[str]]:
        def load(tx: Tx) -> dict[str, list[str]]:
            lanes = [(a, name) for a in tx.jobs.waiting() for name in tx.jobs.lanes(a, "", 99)]
            return {
                a + name[:4]: [c.job_id for c in tx.jobs.head(a, name, at(now), n)]
                for a, name in lanes
            }

        return store.read(load)

    best, usual, other = f"{ACC}0995", f"{ACC}1000", f"{OTHER}1000"
    assert heads(10, 9) == {best: [high.id], usual: [low.id], other: [mine.id]}
    assert list(heads(10, 9)) == [best, usual, other]
    assert heads(2000, 9)[usual] == [low.id, waits.id]
    assert heads(2000, 1)[usual] == [low.id]
    since = store.read(lambda tx: tx.jobs.head(ACC, tx.jobs.lanes(ACC, "", 9)[1], at(2000), 9))
    assert [c.since for c in since] == [low.created_at, at(1000)]
    assert store.read(lambda tx: tx.jobs.next_due(at(10))) == at(1000)
    assert store.read(lambda tx: tx.jobs.next_due(at(1000))) is None
    assert store.read(lambda tx: tx.jobs.n_ahead(mine)) == 3
    raised = replace(mine, spec=replace(mine.spec, priority=9))
    store.write(lambda tx: tx.jobs.save(raised))
    assert heads(10, 1)[f"{OTHER}0991"] == [mine.id]
    assert store.read(lambda tx: tx.jobs.get(mine.id)).spec.priority == 9


def test_pages_walk_everything_once(store: Store) -> None:
    account(store)
    jobs = add(store, *(replace(job(n), created_at=at(n // 3)) for n in range(20)))
    cancelled = jobs[7]

    def stop(tx) -> None:  # type: ignore[no-untyped-def]
        ended, _ = settle(tx.ledger.open_hold(cancelled.id), 0, "txn_none", at(9), None)
        tx.ledger.end_hold(ended)
        tx.jobs.save(cancel(tx.jobs.get(cancelled.id), None, at(9)))

    store.write(stop)
    after, seen = None, []
    while page := store.read(lambda tx, a=after: tx.jobs.page(JobFilter(ACC), a, 3)):
        seen += [j.id for j in page]
        after = After(page[-1].created_at, page[-1].id)
    assert seen == [j.id for j in sorted(jobs, key=lambda j: (j.created_at, j.id), reverse=True)]

    def ids(where: JobFilter, n: int = 50) -> list[str]:
        return [j.id for j in store.read(lambda tx: tx.jobs.page(where, None, n))]

    assert ids(JobFilter(states=("CANCELLED",))) == [cancelled.id]
    assert len(ids(JobFilter(ACC, states=("CANCELLED", "QUEUED")))) == 20
    assert ids(JobFilter(ACC, states=("CANCELLED", "QUEUED"), name="job 7")) == [cancelled.id]
    assert ids(JobFilter(OTHER)) == []
    assert len(ids(JobFilter(created_after=at(1), created_before=at(3)))) == 3
    assert ids(JobFilter(dialect="mimaas")) == ids(JobFilter(workload="serve")) == []
    assert len(ids(JobFilter(pool="local-cpu"))) == 20
    counts = store.read(lambda tx: tx.jobs.counts(ACC))
    assert counts == {"QUEUED": 19, "CANCELLED": 1}
    store.write(lambda tx: tx.jobs.save(replace(tx.jobs.get(cancelled.id), deleted_at=at(10))))
    assert store.read(lambda tx: tx.jobs.counts(None)) == {"QUEUED": 19}
    with pytest.raises(NotFound):
        store.read(lambda tx: tx.jobs.get(cancelled.id))


def test_pages_by_labels(store: Store) -> None:
    account(store)
    account(store, id_=OTHER, name="two")
    spec = JobSpec(command=("x",))
    for n in range(12):
        labels = {"team": "ab"[n % 2], "it's": f"%{n % 3}"}
        add(store, job(n, [ACC, OTHER][n // 6], replace(spec, labels=labels)))

    def numbers(where: JobFilter, after: After | None = None) -> list[int]:
        found = store.read(lambda tx: tx.jobs.page(where, after, 50))
        return [int(j.id[4:], 16) for j in found]

    assert numbers(JobFilter(labels={"team": "a"})) == [10, 8, 6, 4, 2, 0]
    assert numbers(JobFilter(ACC, labels={"team": "a"})) == [4, 2, 0]
    assert numbers(JobFilter(labels={"team": "a", "it's": "%1"})) == [10, 4]
    queued = JobFilter(labels={"team": "a"}, states=("QUEUED",))
    assert numbers(queued, After(at(4), job(4).id)) == [
        2, 0,
    ]  # fmt: skip
    assert numbers(JobFilter(labels={"team": "c"})) == []
