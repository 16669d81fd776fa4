"""Every method: what it sends, what it returns, and how failures come out."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from tests.unit.middleman.conftest import AT, BASE, JOB_ID, Stub, job, refusal

import middleman
from middleman import Framework, GpuType, Job, JobStatus, MiddlemanClient
from middleman.client import ApiError, AuthenticationError, MiddlemanError
from middleman.errors import (
    BadAnswerError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    RateLimitError,
    UnreachableError,
)
from middleman.models import JobDetail

KEY = {
    "id": "k1", "name": "ci", "key_prefix": "mdlm_ab", "scopes": ["read", "write"],
    "created_at": AT, "last_used_at": None, "expires_at": AT,
}  # fmt: skip
HOOK = {"id": "w1", "name": "mine", "url": "https://x.test/", "events": ["*"], "is_active": True}


def test_the_package_has_the_documented_face() -> None:
    for name in ("CreditBalance", "Framework", "GpuType", "Job", "JobStatus", "MiddlemanClient"):
        assert getattr(middleman, name).__name__ == name
    assert issubclass(AuthenticationError, MiddlemanError)
    assert issubclass(ApiError, MiddlemanError)
    assert not issubclass(AuthenticationError, ApiError)
    assert middleman.__version__ == "1.0.0"


def test_the_sdk_needs_nothing_of_the_server() -> None:
    code = "import sys, middleman.client, middleman.cli.jobs; print('trainshed' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


def test_without_a_key_there_is_no_client() -> None:
    with pytest.raises(AuthenticationError):
        MiddlemanClient()


def test_the_environment_gives_key_and_address(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDDLEMAN_API_KEY", "mdlm_env")
    monkeypatch.setenv("MIDDLEMAN_API_URL", f"{BASE}/")
    stub.on("GET /billing/balance", {"balance": 10, "reserved": 4, "available": 6})
    with MiddlemanClient() as client:
        assert client.base_url == BASE
        assert client.get_balance().available == 6
    assert stub.requests[0].headers["x-api-key"] == "mdlm_env"
    assert MiddlemanClient("mdlm_arg", "http://other.test/api/v1").base_url.startswith(
        "http://other"
    )


def test_the_default_is_this_machine(stub: Stub) -> None:
    assert MiddlemanClient("k").base_url == "http://localhost:8000/api/v1"


def test_who_we_say_we_are(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /users/me", {"email": "a@b.c", "name": "a", "tier": "free"})
    assert client.get_user().email == "a@b.c"
    sent = stub.requests[0].headers
    assert sent["user-agent"] == "middleman-python/1.0.0"
    assert sent["x-api-key"] == "mdlm_secret"
    assert "authorization" not in sent
    assert "idempotency-key" not in sent


def test_list_jobs(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs", {"data": [job()], "total": 7})
    (one,), total = client.list_jobs(JobStatus.RUNNING, limit=1, offset=2)
    assert (one.id, one.status, one.gpu_type, total) == (JOB_ID, "running", GpuType.A100, 7)
    assert one.is_active
    assert not one.is_terminal
    assert one.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert dict(stub.requests[0].url.params) == {"status": "running", "limit": "1", "offset": "2"}
    client.list_jobs("failed")
    assert stub.requests[1].url.params["status"] == "failed"


def test_a_word_of_tomorrow_breaks_no_list(client: MiddlemanClient, stub: Stub) -> None:
    new = job(gpu_type="h100", framework="custom", status="defragmenting", surprise=[1])
    stub.on("GET /jobs", {"data": [new, job()], "total": 2})
    (odd, _), _ = client.list_jobs()
    assert (odd.gpu_type, odd.framework, odd.status) == ("h100", "custom", "defragmenting")
    assert not odd.is_terminal
    assert not odd.is_active
    assert odd.raw["surprise"] == [1]


@pytest.mark.parametrize("status", JobStatus)
def test_the_statuses_of_the_contract(status: JobStatus) -> None:
    one = Job(id="j", status=status, gpu_type=GpuType.T4, created_at=datetime.now(UTC))
    assert one.is_terminal == (status in ("completed", "cancelled", "failed"))
    assert one.is_active == (
        status in ("queued", "provisioning", "running", "checkpointing", "resuming")
    )


def test_get_job(client: MiddlemanClient, stub: Stub) -> None:
    stub.on(f"GET /jobs/{JOB_ID[:8]}", job(status="failed", error_message="out of memory"))
    one = client.get_job(JOB_ID[:8])
    assert isinstance(one, JobDetail)
    assert (one.script_path, one.max_runtime_hours) == ("train.py", 8)
    assert one.environment_variables == {"WANDB_API_KEY": "***"}
    assert one.error_message == "out of memory"


@pytest.mark.parametrize("identity", ["../keys", "a/b", "x?y", "ü"])
def test_an_id_names_no_other_route(client: MiddlemanClient, stub: Stub, identity: str) -> None:
    with pytest.raises(NotFoundError):
        client.get_job(identity)
    assert stub.requests[0].url.raw_path.startswith(b"/api/v1/jobs/")
    assert stub.requests[0].url.raw_path.count(b"/") == 4


@pytest.mark.parametrize("identity", ["", ".", ".."])
def test_no_id_is_sent_nowhere(client: MiddlemanClient, stub: Stub, identity: str) -> None:
    with pytest.raises(MiddlemanError):
        client.get_job(identity)
    assert stub.requests == []


NEW = {
    "id": JOB_ID, "name": None, "status": "queued", "estimated_cost": 800,
    "reserved_credits": 800, "queue_position": 1, "created_at": AT,
}  # fmt: skip


def test_create_job_sends_the_documented_fields(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("POST /jobs", httpx2.Response(201, json=NEW))
    made = client.create_job(
        name="ResNet Training",
        script_path="/scripts/train.py",
        input_data_path="/data/imagenet",
        gpu_type="a100",
        gpu_count=2,
        framework=Framework.JAX,
        requirements_file="/scripts/requirements.txt",
        max_runtime_hours=8,
        environment_variables={"WANDB_API_KEY": "x"},
    )
    assert (made.id, made.queue_position, made.reserved_credits) == (JOB_ID, 1, 800)
    assert stub.bodies("POST /jobs") == [
        {
            "name": "ResNet Training",
            "script_path": "/scripts/train.py",
            "input_data_path": "/data/imagenet",
            "gpu_type": "a100",
            "gpu_count": 2,
            "framework": "jax",
            "requirements_file": "/scripts/requirements.txt",
            "checkpoint_frequency": 10,
            "max_runtime_hours": 8,
            "environment_variables": {"WANDB_API_KEY": "x"},
        }
    ]


def test_create_job_leaves_out_what_was_not_given(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("POST /jobs", NEW)
    client.create_job("train.py", "data")
    (body,) = stub.bodies("POST /jobs")
    assert not {"name", "requirements_file"} & set(body)
    assert (body["gpu_type"], body["max_runtime_hours"]) == ("t4", 4)


def test_control(client: MiddlemanClient, stub: Stub) -> None:
    small = {"id": JOB_ID, "status": "paused", "gpu_type": "t4", "created_at": AT}
    stub.on(f"POST /jobs/{JOB_ID}/pause", small)
    stub.on(f"POST /jobs/{JOB_ID}/resume", {**small, "status": "resuming"})
    stub.on(f"POST /jobs/{JOB_ID}/cancel", {"status": "cancelled", "refunded_credits": 799})
    assert client.pause_job(JOB_ID).status == "paused"
    assert client.resume_job(JOB_ID).status is JobStatus.RESUMING
    assert client.cancel_job(JOB_ID)["refunded_credits"] == 799
    assert all(not r.content and not r.url.query for r in stub.requests)


def test_billing(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /billing/packages", {
        "packages": [{"id": "p", "name": "Starter", "credits": 1000, "price_cents": 1050}]
    })  # fmt: skip
    row = {"created_at": AT, "type": "usage", "amount": -5, "description": "Job"}
    stub.on("GET /billing/transactions", {"data": [row], "total": 9})
    (package,) = client.get_packages()
    assert package.price_dollars == 10.5
    found, total = client.get_transactions(limit=50)
    assert (found[0]["amount"], total) == (-5, 9)
    assert stub.requests[-1].url.params["limit"] == "50"


def test_api_keys(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /api-keys", [KEY])
    stub.on("POST /api-keys", {**KEY, "key": "mdlm_full"})
    stub.on("DELETE /api-keys/k1", {"revoked": True})
    assert client.list_api_keys()[0].scopes == ("read", "write")
    made, full = client.create_api_key("ci", expires_in_days=90)
    assert (made.key_prefix, full) == ("mdlm_ab", "mdlm_full")
    assert "mdlm_full" not in repr(made)
    assert "mdlm_full" not in str(made.raw)
    assert stub.bodies("POST /api-keys") == [
        {"name": "ci", "scopes": ["read", "write"], "expires_in_days": 90}
    ]
    client.create_api_key("x", ["read"])
    assert stub.bodies("POST /api-keys")[1]["expires_in_days"] is None
    assert client.revoke_api_key("k1") is True


def test_webhooks(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /webhooks", [HOOK]).on("POST /webhooks", {**HOOK, "secret": "whsec"})
    stub.on("GET /webhooks/w1", HOOK).on("PATCH /webhooks/w1", {**HOOK, "is_active": False})
    stub.on("DELETE /webhooks/w1", httpx2.Response(204))
    stub.on("POST /webhooks/w1/regenerate-secret", {"secret": "new"})
    stub.on("POST /webhooks/w1/test", {"id": "d1", "status": "delivered"})
    stub.on("GET /webhooks/w1/deliveries", {"data": [{"id": "d1"}], "total": 1})
    stub.on("GET /webhooks/events", {"events": ["job.queued", "credits.low"]})
    assert client.list_webhooks()[0]["url"] == "https://x.test/"
    assert client.create_webhook("mine", "https://x.test/", ["*"]).get("secret") == "whsec"
    assert client.get_webhook("w1")["name"] == "mine"
    assert client.update_webhook("w1", is_active=False)["is_active"] is False
    assert stub.bodies("PATCH /webhooks/w1") == [{"is_active": False}]
    client.delete_webhook("w1")
    assert client.regenerate_webhook_secret("w1") == "new"
    assert client.test_webhook("w1")["status"] == "delivered"
    assert client.get_webhook_deliveries("w1", 5) == ([{"id": "d1"}], 1)
    assert client.get_webhook_events() == ["job.queued", "credits.low"]


@pytest.mark.parametrize(
    ("answer", "cls"),
    [
        (refusal(401, "unauthorized", "Unknown key."), AuthenticationError),
        (refusal(402, "insufficient_credits", "Too few."), InsufficientCreditsError),
        (refusal(404, "not_found", "None."), NotFoundError),
        (refusal(409, "invalid_state", "Ended."), ConflictError),
        (refusal(418, "teapot", "Short."), ApiError),
    ],
)
def test_refusals(
    client: MiddlemanClient, stub: Stub, answer: httpx2.Response, cls: type[MiddlemanError]
) -> None:
    stub.on("GET /jobs", answer)
    with pytest.raises(cls) as caught:
        client.list_jobs()
    assert type(caught.value) is cls
    assert len(stub.requests) == 1
    if isinstance(caught.value, ApiError):
        assert str(caught.value) == f"API Error ({answer.status_code}): {caught.value.detail}"
        assert caught.value.details["needed"] == 800


def test_too_many_requests_in_the_end(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs", refusal(429, "rate_limited", "Slow down.", **{"Retry-After": "7"}))
    with pytest.raises(RateLimitError) as caught:
        client.list_jobs()
    assert caught.value.retry_after_s == 7
    assert len(stub.requests) == 5
    assert all(7 <= wait < 9 for wait in stub.waits)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"detail": "plain"}', "plain"),
        (b'{"detail": [{"loc": ["x"]}]}', '[{"loc": ["x"]}]'),
        (b'{"error": {"message": "inner"}}', "inner"),
        (b"<html>bad gateway</html>", "<html>bad gateway</html>"),
        (b"", "The server answered 500 without an explanation."),
    ],
)
def test_the_text_of_a_refusal(client: MiddlemanClient, stub: Stub, body: bytes, text: str) -> None:
    stub.on("GET /jobs", httpx2.Response(500, content=body))
    with pytest.raises(ApiError) as caught:
        client.list_jobs()
    assert (caught.value.status_code, caught.value.detail) == (500, text)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"data": 1}', b'{"data": [{"id": 1}]}'])
def test_an_answer_that_is_none(client: MiddlemanClient, stub: Stub, answer: bytes) -> None:
    stub.on("GET /jobs", httpx2.Response(200, content=answer))
    with pytest.raises(BadAnswerError):
        client.list_jobs()


def test_a_redirect_is_not_followed(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs", httpx2.Response(307, headers={"location": "http://evil.test/"}))
    with pytest.raises(ApiError, match=r"evil\.test"):
        client.list_jobs()
    assert len(stub.requests) == 1


def test_a_get_is_tried_again(client: MiddlemanClient, stub: Stub) -> None:
    gone = httpx2.ReadError("gone")
    stub.on("GET /jobs", gone, refusal(503, "unavailable", "Wait."), {"data": [], "total": 0})
    assert client.list_jobs() == ([], 0)
    assert len(stub.requests) == 3


def test_a_creation_is_tried_again_under_one_key(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("POST /jobs", httpx2.ReadError("gone"), httpx2.ReadTimeout("slow"), NEW)
    assert client.create_job("a.py", "b").id == JOB_ID
    keys = [r.headers["idempotency-key"] for r in stub.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    client.create_job("a.py", "b")
    assert stub.requests[-1].headers["idempotency-key"] != keys[0]


def test_a_creation_whose_first_try_still_runs_is_waited_for(
    client: MiddlemanClient, stub: Stub
) -> None:
    runs = refusal(409, "idempotency_conflict", "Still running.", **{"Retry-After": "1"})
    stub.on("POST /jobs", httpx2.ReadTimeout("slow"), runs, NEW)
    assert client.create_job("a.py", "b").id == JOB_ID


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.cancel_job("j"),
        lambda c: c.pause_job("j"),
        lambda c: c.resume_job("j"),
        lambda c: c.delete_webhook("j"),
        lambda c: c.revoke_api_key("j"),
        lambda c: c.update_webhook("j", name="x"),
        lambda c: c.test_webhook("j"),
        lambda c: c.regenerate_webhook_secret("j"),
    ],
)
def test_what_is_not_safe_is_sent_once(client: MiddlemanClient, stub: Stub, act: Any) -> None:
    broken = httpx2.ReadError("gone")
    for what in ("cancel", "pause", "resume"):
        stub.on(f"POST /jobs/j/{what}", broken)
    stub.on("DELETE /webhooks/j", broken).on("DELETE /api-keys/j", broken)
    stub.on("PATCH /webhooks/j", broken).on("POST /webhooks/j/test", broken)
    stub.on("POST /webhooks/j/regenerate-secret", broken)
    with pytest.raises(UnreachableError):
        act(client)
    assert len(stub.requests) == 1
    assert "idempotency-key" not in stub.requests[0].headers


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/y", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(MiddlemanError):
        MiddlemanClient("k", url)


@pytest.mark.parametrize("key", ["mdlm_é", "mdlm_a\nb"])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(AuthenticationError):
        MiddlemanClient(key, BASE)


def test_the_key_is_in_no_text(client: MiddlemanClient) -> None:
    assert "mdlm_secret" not in repr(client)
