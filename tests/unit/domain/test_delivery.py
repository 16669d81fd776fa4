"""Who gets what, the ladder, the pace, and signatures by the standard's own library."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from trainshed.domain import delivery as rules
from trainshed.domain.delivery import Delivery, DeliveryState, Pace, Subscription
from trainshed.domain.errors import InvalidInput
from trainshed.domain.events import Event

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Subscription("whk_1", "acc_a", "webhook", "one", ("job.*",), NOW, b"")
WAY = Delivery("dlv_1", "whk_1", "acc_a", "job.failed", 7, "job_1", NOW, "{}", NOW, tries=1)


def event(kind: str = "job.failed", account: str = "acc_a", job: str = "job_1") -> Event:
    return Event(kind, account, NOW, job, None, {}, 7)


@pytest.mark.parametrize(
    ("change", "kind", "dialect", "wanted"),
    [
        ({}, "job.failed", None, True),
        ({}, "credits.held", None, False),
        ({"events": ("*",)}, "credits.held", None, True),
        ({"events": ("job.failed",)}, "job.failed", None, True),
        ({"events": ("job.fail",)}, "job.failed", None, False),
        ({"active": False}, "job.failed", None, False),
        ({"since_seq": 7}, "job.failed", None, False),
        ({"since_seq": 6}, "job.failed", None, True),
        ({"account_id": "acc_b"}, "job.failed", None, False),
        ({"account_id": None}, "job.failed", None, True),
        ({"job_id": "job_1"}, "job.failed", None, True),
        ({"job_id": "job_2"}, "job.failed", None, False),
        ({"job_dialect": "orchestrator"}, "job.failed", "orchestrator", True),
        ({"job_dialect": "orchestrator"}, "job.failed", "native", False),
        ({"job_dialect": "orchestrator"}, "job.failed", None, False),
    ],
)
def test_wants(change: dict[str, object], kind: str, dialect: str | None, wanted: bool) -> None:
    one = replace(ONE, **change)  # type: ignore[arg-type]
    assert rules.wants(one, event(kind), kind, dialect) is wanted


def test_patterns_must_match_something() -> None:
    assert rules.check_events(["job.*", "*", "job.*"]) == ("job.*", "*")
    for bad in (["job.exploded"], ["job*"], ["jo.*"], [], ["*"] * 0, [""]):
        with pytest.raises(InvalidInput):
            rules.check_events(bad)


def test_the_ladder_lasts_a_day_and_ends() -> None:
    one, total = WAY, timedelta()
    while one.state is DeliveryState.PENDING:
        after = rules.failed(one, NOW, share=0.0)
        total += after.next_at - NOW
        assert after.tries <= rules.TRIES
        one = replace(after, tries=after.tries + 1) if after.done_at is None else after
    assert one.state is DeliveryState.DEAD
    assert total >= timedelta(hours=24)
    again = rules.replayed(one, NOW)
    assert (again.id, again.tries, again.state) == (one.id, 0, DeliveryState.PENDING)


@given(st.integers(1, rules.TRIES - 1), st.floats(0, 1), st.floats(0, 1e9))
def test_waits_are_bounded(tries: int, share: float, asked: float) -> None:
    wait = rules.wait_s(tries, share, asked)
    assert wait is not None
    assert rules.FIRST_S <= wait <= rules.LONGEST_S * (1 + rules.JITTER)


def test_a_busy_receiver_is_obeyed() -> None:
    assert (rules.wait_s(1, 0, 60) or 0) == 60
    assert (rules.wait_s(1, 0, 10**8) or 0) == rules.LONGEST_S


def test_ids_are_stable_and_differ() -> None:
    made = {rules.delivery_id(seq, hook) for seq in range(50) for hook in ("whk_1", "whk_2")}
    assert len(made) == 100
    assert rules.delivery_id(3, "whk_1") in made


def test_the_standards_own_vector() -> None:
    """The example of the specification's reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    made = rules.sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200).map(lambda b: json.dumps(b.hex())), st.text("abc_", min_size=1))
def test_the_library_verifies_ours(text: str, message_id: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    old, new = rules.secret_from("old"), rules.secret_from("new")
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": rules.sign([new, old], message_id, now, text.encode()),
    }
    for secret in (old, new):
        assert Webhook(secret).verify(text, headers) == json.loads(text)
    for wrong in (
        {"webhook-id": message_id + "x"},
        {"webhook-timestamp": str(now + 1)},
        {"webhook-timestamp": str(now - 400)},
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(text, {**headers, **wrong})
    with pytest.raises(WebhookVerificationError):
        Webhook(rules.secret_from("other")).verify(text, headers)


def test_the_pace_defers_and_recovers() -> None:
    pace, spent, now = Pace(burst=3, every_s=2.0), 0.0, 1000.0
    for left in (3, 2, 1, 0):
        assert pace.room(spent, now) == left
        if left:
            spent = pace.spend(spent, now, 1)
    assert pace.room(spent, now + 2.0) == 1
    assert pace.room(spent, now + 600.0) == 3


def test_health() -> None:
    bad = replace(ONE, failing_since=NOW)
    assert rules.health(bad, NOW + timedelta(days=1)) == "active"
    assert rules.health(bad, NOW + timedelta(days=4)) == "failing"
    assert rules.health(replace(bad, active=False), NOW) == "inactive"
