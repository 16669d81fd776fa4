"""Seats are shared between accounts, and are not more than there are."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from tests.support.server import eventually

from trainshed.bootstrap.seats import Seats


def begin(seats: Seats, who: str, order: list[str], leave: threading.Event) -> threading.Thread:
    def sit() -> None:
        with seats.one(who, 30) as got:
            assert got
            order.append(who)
            leave.wait(30)

    thread = threading.Thread(target=sit, daemon=True)
    thread.start()
    return thread


def test_no_more_than_there_are() -> None:
    seats = Seats(2)
    with ExitStack() as stack:
        assert stack.enter_context(seats.one("a", 0.01))
        assert stack.enter_context(seats.one("a", 0.01))
        assert not stack.enter_context(seats.one("b", 0.01))
    with seats.one("b", 0.01) as got:
        assert got


def test_who_has_none_comes_first() -> None:
    seats, order = Seats(2), list[str]()
    leave = [threading.Event() for _ in range(5)]
    threads = [begin(seats, "many", order, leave[0]), begin(seats, "many", order, leave[1])]
    eventually(lambda: len(order) == 2)
    threads += [begin(seats, "many", order, leave[2])]
    eventually(lambda: len(seats._waiting) == 1)
    threads += [begin(seats, "other", order, leave[3])]
    eventually(lambda: len(seats._waiting) == 2)
    leave[0].set()
    eventually(lambda: len(order) == 3)
    assert order[-1] == "other"
    leave[1].set()
    eventually(lambda: len(order) == 4)
    assert order[-1] == "many"
    for one in leave:
        one.set()
    for thread in threads:
        thread.join(30)
    assert seats._taken.total() == len(seats._waiting) == 0
