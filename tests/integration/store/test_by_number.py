"""What dialects that page by number and name things by beginnings ask, alike on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.integration.store.make import ACC, NOW, account, add, at, end, job, lease

from trainshed.domain.artifact import BlobRef
from trainshed.domain.job import JobSpec
from trainshed.domain.ledger import Unit
from trainshed.ports.store import JobFilter, Store, Upload

OTHER = "acc_" + "2" * 32


def test_pages_by_number_and_counts(store: Store) -> None:
    account(store)
    account(store, name="two", id_=OTHER)
    made = add(store, *[job(n, dialect="middleman" if n % 2 else "native") for n in range(1, 10)])
    add(store, job(10, OTHER, dialect="middleman"))
    mine = JobFilter(account_id=ACC, dialect="middleman")
    newest = [one.id for one in reversed(made) if one.dialect == "middleman"]

    def page(offset: int, limit: int) -> list[str]:
        found = store.read(lambda tx: tx.jobs.page(mine, None, limit, offset))
        return [one.id for one in found]

    assert page(0, 2) + page(2, 2) + page(4, 2) == newest
    assert page(5, 2) == []
    assert store.read(lambda tx: tx.jobs.count(mine)) == 5
    labelled = job(11, spec=JobSpec(command=("a",), labels={"team": "x"}))
    add(store, labelled)
    where = JobFilter(account_id=ACC, labels={"team": "x"})
    assert store.read(lambda tx: tx.jobs.count(where)) == 1


def test_filters_by_live_and_begun(store: Store) -> None:
    account(store)
    one, two, three = add(store, job(1), job(2), job(3))
    lease(store, one)
    end(store, lease(store, two))

    def ids(**narrow: bool) -> set[str]:
        where = JobFilter(account_id=ACC, **narrow)  # type: ignore[arg-type]
        found = store.read(lambda tx: tx.jobs.page(where, None, 10))
        assert store.read(lambda tx: tx.jobs.count(where)) == len(found)
        return {one.id for one in found}

    assert ids(live=True) == {one.id}
    assert ids(live=False) == {two.id, three.id}
    assert ids(begun=True) == {one.id, two.id}
    assert ids(begun=False) == {three.id}
    assert ids(begun=True, live=False) == {two.id}


def test_ids_by_how_they_begin(store: Store) -> None:
    account(store)
    account(store, name="two", id_=OTHER)
    digits = ("00000000a", "00000000f", "0000000100", "ffffffff")
    for n, begin in enumerate(digits):
        add(store, replace(job(n), id=f"job_{begin:0<32}", dialect="middleman"))
    add(store, replace(job(9, OTHER), id="job_" + "00000000b".ljust(32, "0"), dialect="middleman"))

    def found(begin: str, limit: int = 5, **narrow: str) -> list[str]:
        where = JobFilter(account_id=ACC, **narrow)  # type: ignore[arg-type]
        return sorted(store.read(lambda tx: tx.jobs.starting_with(f"job_{begin}", where, limit)))

    assert len(found("00000000")) == 2
    assert len(found("00000000", 1)) == 1
    assert found("00000000a") == ["job_" + "00000000a".ljust(32, "0")]
    assert found("ffffffff".ljust(32, "0")) == ["job_" + "ffffffff".ljust(32, "0")]
    assert found("00000002") == []
    assert found("00000000", dialect="native") == []


def test_uploads_below_a_folder(store: Store) -> None:
    account(store)
    account(store, name="two", id_=OTHER)
    blob = BlobRef("0" * 32, "0" * 64, 3)
    paths = ("set/a.csv", "set/deep/b.csv", "set", "settle/c.csv", "x/set/d.csv", "set/late.csv")

    def apply(tx):  # type: ignore[no-untyped-def]
        for n, path in enumerate(paths):
            whole = path != "set/late.csv"
            tx.files.insert_upload(
                Upload(
                    f"upl_{n:032x}", ACC, path, 3, at(n),
                    blob if whole else None, at(n) if whole else None,
                )
            )  # fmt: skip
        tx.files.insert_upload(Upload(f"upl_{99:032x}", OTHER, "set/a.csv", 3, NOW, blob, NOW))

    store.write(apply)
    below = store.read(lambda tx: tx.files.uploads_below(ACC, "set", 10))
    assert [one.path for one in below] == ["set/deep/b.csv", "set/a.csv"]
    assert len(store.read(lambda tx: tx.files.uploads_below(ACC, "set", 1))) == 1


def test_entries_by_number(store: Store) -> None:
    account(store)
    for n in range(1, 4):
        end(store, lease(store, add(store, job(n))[0]), cost=n)

    def amounts(offset: int, limit: int) -> list[int]:
        rows = store.read(lambda tx: tx.ledger.entries(ACC, Unit.CREDIT, None, limit, offset))
        return [entry.amount for _, _, entry in rows]

    assert amounts(0, 2) + amounts(2, 2) == [-3, -2, -1, 10**12]
    assert amounts(4, 2) == []
    assert store.read(lambda tx: tx.ledger.n_entries(ACC, Unit.CREDIT)) == 4
    assert store.read(lambda tx: tx.ledger.n_entries(ACC, Unit.BOARD_RUN)) == 0


@pytest.mark.parametrize("limit", [0, 100])
def test_an_offset_beyond_the_end_is_empty(store: Store, limit: int) -> None:
    account(store)
    add(store, job(1))
    where = JobFilter(account_id=ACC)
    assert store.read(lambda tx: tx.jobs.page(where, None, limit, 1_000_000)) == []
