from __future__ import annotations

import pytest

from trainshed.domain.errors import Overloaded, RateLimited
from trainshed.http.ratelimit import Gcra, Limiter, LoginThrottle
from trainshed.testing.fakes import ManualClock


def test_a_minutes_worth_then_one_step_at_a_time() -> None:
    clock = ManualClock()
    gcra = Gcra(clock)
    left = [gcra.hit("a", 6).remaining for _ in range(6)]
    assert left == [5, 4, 3, 2, 1, 0]
    refused = gcra.hit("a", 6)
    assert refused.retry_after_s == pytest.approx(10)
    assert gcra.hit("b", 6).remaining == 5
    clock.advance(9.9)
    assert gcra.hit("a", 6).retry_after_s > 0
    clock.advance(0.1)
    assert gcra.hit("a", 6).retry_after_s == 0
    clock.advance(3600)
    assert gcra.hit("a", 6).remaining == 5


def test_what_is_refused_costs_nothing() -> None:
    clock = ManualClock()
    gcra = Gcra(clock)
    for _ in range(100):
        gcra.hit("a", 2)
    clock.advance(30)
    assert gcra.hit("a", 2).retry_after_s == 0


def test_zero_and_unknown_tiers_are_unlimited() -> None:
    limiter = Limiter(ManualClock(), {"off": 0, "on": 1})
    assert limiter.hit("a", "off") is None
    assert limiter.hit("a", "none") is None
    decision = limiter.hit("a", "on")
    assert decision is not None
    decision.check()
    again = limiter.hit("a", "on")
    assert again is not None
    with pytest.raises(RateLimited) as caught:
        again.check()
    assert caught.value.extra["retry_after_s"] == 60


def test_a_proven_address_is_not_held_up_by_others() -> None:
    throttle = LoginThrottle(ManualClock())
    throttle.succeeded("eve", "home")
    for n in range(100):
        throttle.failed("eve", f"attacker{n}")
    throttle.check("eve", "home")
    with pytest.raises(RateLimited):
        throttle.check("eve", "attacker-new")


def test_one_address_cannot_try_many_names() -> None:
    throttle = LoginThrottle(ManualClock())
    for n in range(LoginThrottle.BY_ADDRESS):
        throttle.check(f"user{n}", "one")
        throttle.failed(f"user{n}", "one")
    with pytest.raises(RateLimited):
        throttle.check("another", "one")


def test_delays_double_and_are_forgotten() -> None:
    clock = ManualClock()
    throttle = LoginThrottle(clock)
    waits = []
    for _ in range(7):
        throttle.failed("eve", "one")
        try:
            throttle.check("eve", "one")
            waits.append(0)
        except RateLimited as error:
            waits.append(error.extra["retry_after_s"])
    assert waits == [0, 0, 0, 1, 2, 4, 8]
    clock.advance(LoginThrottle.FORGET_S + 1)
    throttle.check("eve", "one")
    throttle.succeeded("eve", "one")
    throttle.check("eve", "one")


def test_hashing_is_bounded() -> None:
    throttle = LoginThrottle(ManualClock())
    throttle._waiting = LoginThrottle.WAITING
    with pytest.raises(Overloaded), throttle.hashing():
        pass
    throttle._waiting = 0
    with throttle.hashing():
        assert throttle._waiting == 1
    assert throttle._waiting == 0
