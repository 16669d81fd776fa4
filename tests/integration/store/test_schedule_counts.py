"""What operators are told of all accounts' Schedules, on both engines."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.store.make import ACC, NOW, account, at

from trainshed.domain.job import JobSpec
from trainshed.domain.schedule import Phase, Schedule
from trainshed.ports.schedules import ScheduleFilter
from trainshed.ports.store import Store


def schedule(n: int, owner: str = ACC, dialect: str = "orchestrator") -> Schedule:
    id_ = f"sch_{n:032x}"
    spec = JobSpec(command=("true",))
    return Schedule(
        id_,
        owner,
        None,
        None,
        dialect,
        f"{dialect[:1]} {n % 2}",
        "0 2 * * *",
        "UTC",
        spec,
        at(n),
        NOW,
    )


def test_over_all_accounts_and_after_deletion(store: Store) -> None:
    account(store)
    account(store, 0, "other", "acc_other")
    made = [
        schedule(1), replace(schedule(2), last_error="no image"), schedule(3, "acc_other"),
        schedule(4, dialect="native"), replace(schedule(5), deleted_at=NOW),
    ]  # fmt: skip
    for one in made:
        store.write(lambda tx, one=one: tx.schedules.insert(one, None))  # type: ignore[misc]
    read = store.read
    assert read(lambda tx: tx.schedules.created("orchestrator")) == {"o 0": 1, "o 1": 3}
    expected = {Phase.WAITING: 2, Phase.FAILED: 1}
    assert read(lambda tx: tx.schedules.counts(None, "orchestrator")) == expected
    assert read(lambda tx: tx.schedules.counts(None)) == {Phase.WAITING: 3, Phase.FAILED: 1}
    assert read(lambda tx: tx.schedules.counts(ACC)) == {Phase.WAITING: 2, Phase.FAILED: 1}
    where = ScheduleFilter(None, "orchestrator")
    page = read(lambda tx: tx.schedules.page(where, None, 0, 2))
    assert [one.id for one in page] == [made[2].id, made[1].id]
