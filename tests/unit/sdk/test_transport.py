"""What is sent again, how often, when, and with which key."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from trainshed_client.api.people import Accounts, Keys
from trainshed_client.backoff import Backoff, retry_after_s
from trainshed_client.errors import (
    BadAnswer,
    ConfigProblem,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    RateLimited,
    TrainshedError,
    Unavailable,
    Unreachable,
)
from trainshed_client.transport import Transport

Answer = httpx2.Response | Exception
GONE = httpx2.ReadError("gone")


def problem(status: int, code: str, **extra: Any) -> httpx2.Response:
    body = {"status": status, "code": code, "detail": f"it is {code}", "request_id": "req_1"}
    return httpx2.Response(status, json={**body, **extra})


class Script:
    """Answers in turn, and remembers what was asked and how long was waited."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def transport(self, draw: Callable[[], float] = lambda: 1.0) -> Transport:
        return Transport(
            "http://shed:8000",
            "ts_secret",
            backoff=Backoff(draw=draw),
            http=httpx2.MockTransport(self),
            sleep=self.sleep,
        )


OK = httpx2.Response(200, json={"ok": True})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("bad", [GONE, httpx2.ReadTimeout(""), problem(503, "unavailable")])
async def test_idempotent_calls_are_sent_again(method: str, bad: Answer) -> None:
    script = Script(bad, bad, OK)
    assert await script.transport().call(method, "/x") == {"ok": True}
    assert len(script.requests) == 3
    assert script.waits == [0.25, 0.5]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("bad", [GONE, problem(503, "overloaded"), problem(429, "rate_limited")])
async def test_other_calls_are_sent_once(method: str, bad: Answer) -> None:
    script = Script(bad)
    with pytest.raises(TrainshedError):
        await script.transport().call(method, "/x", body={})
    assert len(script.requests) == 1


async def test_a_creation_keeps_its_key_through_retries() -> None:
    script = Script(GONE, problem(503, "unavailable"), httpx2.Response(201, json={"id": "key_1"}))
    made = await Keys(script.transport()).create("ci")
    assert made.id == "key_1"
    keys = {r.headers["idempotency-key"] for r in script.requests}
    assert len(script.requests) == 3
    assert len(keys) == 1
    assert len({r.content for r in script.requests}) == 1


async def test_two_creations_have_two_keys_and_a_given_key_is_used() -> None:
    balance = {"unit": "credit"}
    script = Script(*[httpx2.Response(200, json=balance)] * 3)
    accounts = Accounts(script.transport())
    await accounts.grant("acc_1", 5)
    await accounts.grant("acc_1", 5)
    await accounts.grant("acc_1", 5, idempotency_key="mine")
    keys = [r.headers["idempotency-key"] for r in script.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


async def test_first_try_still_in_flight_is_waited_for() -> None:
    script = Script(
        GONE, problem(409, "idempotency_conflict"), httpx2.Response(201, json={"id": "k"})
    )
    assert (await Keys(script.transport()).create("ci")).id == "k"


async def test_key_with_another_body_is_not_tried_again() -> None:
    script = Script(problem(422, "idempotency_conflict"))
    with pytest.raises(IdempotencyConflict):
        await Keys(script.transport()).create("ci")
    assert len(script.requests) == 1


async def test_a_delete_that_was_lost_but_done_is_done() -> None:
    script = Script(GONE, problem(404, "not_found"))
    await Keys(script.transport()).revoke("key_1")
    with pytest.raises(NotFound):
        await Keys(Script(problem(404, "not_found")).transport()).revoke("key_1")


async def test_it_gives_up_after_five_tries() -> None:
    script = Script(*[GONE] * 9)
    with pytest.raises(Unreachable):
        await script.transport().call("GET", "/x")
    assert len(script.requests) == 5


async def test_retry_after_is_honoured() -> None:
    late = problem(429, "rate_limited")
    late.headers["retry-after"] = "7"
    script = Script(late, problem(503, "overloaded", retry_after_s=3), OK)
    await script.transport(lambda: 0.0).call("GET", "/x")
    assert script.waits == [7.0, 3.0]


async def test_a_very_long_retry_after_is_the_callers_to_wait() -> None:
    script = Script(problem(429, "rate_limited", retry_after_s=3600))
    with pytest.raises(RateLimited) as caught:
        await script.transport().call("GET", "/x")
    assert caught.value.extra["retry_after_s"] == 3600
    assert script.waits == []


async def test_waits_are_drawn_at_random_and_bounded() -> None:
    backoff = Backoff(tries=50, draw=lambda: 0.5)
    assert [backoff.wait_s(n) for n in (1, 2, 3, 40)] == [0.125, 0.25, 0.5, 4.0]


def test_retry_after_takes_seconds_and_dates() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s("5", now) == 5
    assert retry_after_s(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert retry_after_s(format_datetime(now - timedelta(days=1), usegmt=True), now) == 0
    assert retry_after_s("soon", now) is None
    assert retry_after_s(None, now) is None


async def test_no_connection_says_what_to_do() -> None:
    script = Script(*[httpx2.ConnectError("refused")] * 9)
    with pytest.raises(Unreachable, match="trainshed up"):
        await script.transport().call("GET", "/x")


async def test_a_problem_carries_everything() -> None:
    script = Script(problem(400, "invalid_input", field="cpus"))
    with pytest.raises(InvalidInput) as caught:
        await script.transport().call("GET", "/x")
    error = caught.value
    assert (error.status, error.code, error.request_id) == (400, "invalid_input", "req_1")
    assert error.detail == str(error) == "it is invalid_input"
    assert error.extra == {"field": "cpus"}


async def test_an_answer_of_something_else() -> None:
    page = httpx2.Response(200, html="<html>")
    with pytest.raises(BadAnswer):
        await Script(page).transport().call("GET", "/x")
    proxy = Script(*[httpx2.Response(502, html="<html>bad gateway")] * 5)
    with pytest.raises(Unavailable) as caught:
        await proxy.transport().call("GET", "/x")
    assert "bad gateway" in caught.value.extra["body"]


async def test_redirects_are_not_followed_with_the_key() -> None:
    script = Script(httpx2.Response(308, headers={"location": "http://evil/"}))
    with pytest.raises(TrainshedError, match="evil"):
        await script.transport().call("GET", "/x")
    assert len(script.requests) == 1


async def test_the_key_goes_to_the_server_only() -> None:
    script = Script(OK, httpx2.Response(200))
    transport = script.transport()
    await transport.call("GET", "/x")
    async with transport.open("GET", "http://elsewhere/signed"):
        pass
    assert script.requests[0].headers["authorization"] == "Bearer ts_secret"
    assert "authorization" not in script.requests[1].headers


async def test_ids_cannot_name_another_route() -> None:
    script = Script(httpx2.Response(204))
    await Keys(script.transport()).revoke("../accounts/x?y")
    assert script.requests[0].url.raw_path == b"/v1/keys/..%2Faccounts%2Fx%3Fy"


def test_an_address_must_be_one() -> None:
    with pytest.raises(ConfigProblem):
        Transport("localhost:8000")


async def test_none_is_left_out_and_times_are_utc() -> None:
    script = Script(OK)
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    await script.transport().call("GET", "/x", params={"a": None, "at": at, "s": ["A", "B"]})
    assert str(script.requests[0].url.params) == "at=2026-01-01T12%3A00%3A00Z&s=A&s=B"
    assert json.dumps({"a": 1})
