"""Nobody gets more than a share, a failing destination one try, and turns go round."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

from tests.support.deps import make_channels

from trainshed.domain.delivery import Subscription
from trainshed.usecases.traffic import Traffic

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOOK = make_channels()["webhook"]
SLACK = make_channels()["slack"]


def sub(n: int, account: str = "acc_a") -> Subscription:
    return Subscription(f"whk_{n}", account, "webhook", "x", ("*",), NOW, b"")


def test_few_for_each_and_one_while_failing() -> None:
    traffic = Traffic()
    assert traffic.room(sub(1), HOOK, 0) == HOOK.at_once
    assert traffic.room(replace(sub(1), failing_since=NOW), HOOK, 0) == 1
    traffic.begin(sub(1), HOOK, 0)
    assert traffic.room(replace(sub(1), failing_since=NOW), HOOK, 0) == 0
    for _ in range(HOOK.at_once // 2):
        traffic.begin(sub(1), HOOK, 0)
    assert traffic.room(sub(1), HOOK, 0) == 0, "filled up by halves"
    traffic.end(sub(1))
    assert traffic.room(sub(1), HOOK, 0) == HOOK.at_once // 2


def test_an_account_has_a_share() -> None:
    traffic = Traffic(total=100, of_account=10)
    for n in range(10):
        traffic.begin(sub(n), HOOK, 0)
    assert traffic.room(sub(11), HOOK, 0) == 0
    assert traffic.room(sub(12, "acc_b"), HOOK, 0) == 10
    assert traffic.left == 90


def test_turns_go_round() -> None:
    traffic = Traffic()
    every = [sub(n) for n in range(4)]
    assert [s.id for s in traffic.fair(every)] == [s.id for s in every]
    traffic.begin(sub(1), HOOK, 0)
    assert [s.id[-1] for s in traffic.fair(every)] == ["2", "3", "0", "1"]


def test_the_pace_counts_what_was_begun() -> None:
    traffic = Traffic()
    assert SLACK.pace is not None
    for _ in range(SLACK.pace.burst):
        assert traffic.room(sub(1), SLACK, 10.0) > 0
        traffic.begin(sub(1), SLACK, 10.0)
        traffic.end(sub(1))
    assert traffic.room(sub(1), SLACK, 10.0) == 0
    assert traffic.room(sub(1), SLACK, 11.0) == 1


def test_counts_survive_threads() -> None:
    traffic = Traffic()

    def work(n: int) -> None:
        for _ in range(2000):
            traffic.begin(sub(n), HOOK, 0)
            traffic.end(sub(n))

    threads = [threading.Thread(target=work, args=(n % 2,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert traffic.left == Traffic().left
