"""A Middleman server in memory: it answers from a table and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from middleman import client as client_module
from middleman.client import MiddlemanClient
from middleman.transport import Transport
from trainshed_client.backoff import Backoff

BASE = "http://mm.test/api/v1"
AT = "2026-01-02T03:04:05Z"
JOB_ID = "0f9d1c62-7a0f-4a59-9f7e-7d6b2f7f6a11"
Answer = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response] | Any


def job(**changes: Any) -> dict[str, Any]:
    """A job as the contract prints it."""
    return {
        "id": JOB_ID, "name": "digits", "status": "running", "gpu_type": "a100", "gpu_count": 2,
        "framework": "pytorch", "current_epoch": 3, "total_epochs": 10, "current_loss": 0.25,
        "reserved_credits": 800, "actual_cost": 0, "credits_used": 0, "created_at": AT,
        "started_at": AT, "completed_at": None, "script_path": "train.py",
        "input_data_path": "data.zip", "requirements_file": None, "checkpoint_frequency": 10,
        "max_runtime_hours": 8, "environment_variables": {"WANDB_API_KEY": "***"},
        "current_region": None, "retry_count": 0, "max_retries": 3, "duration_seconds": 1.5,
        "error_message": None, **changes,
    }  # fmt: skip


def refusal(status: int, code: str, text: str, **headers: str) -> httpx2.Response:
    """An error in the contract's two shapes at once."""
    error = {"code": code, "message": text, "details": {"needed": 800, "available": 5}}
    return httpx2.Response(status, json={"error": error, "detail": text}, headers=headers)


class Stub:
    """``on`` says what is answered: once for each, and the last one for ever."""

    def __init__(self) -> None:
        self.table: dict[str, list[Answer]] = {}
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []

    def on(self, what: str, *answers: Answer) -> Stub:
        self.table[what] = list(answers)
        return self

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        request.read()
        path = request.url.path.removeprefix("/api/v1")
        waiting = self.table.get(f"{request.method} {path}")
        if not waiting:
            return refusal(404, "not_found", f"nothing at {path}")
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, httpx2.Response):
            return httpx2.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )
        return httpx2.Response(200, json=answer)

    def bodies(self, what: str) -> list[Any]:
        """The JSON bodies that were sent to one address."""
        method, path = what.split()
        return [
            json.loads(r.content or b"null")
            for r in self.requests
            if r.method == method and r.url.path == f"/api/v1{path}"
        ]

    def transport(self, key: str = "mdlm_secret", url: str = BASE, **given: Any) -> Transport:
        given.pop("http", None)
        return Transport(
            url,
            key,
            http=httpx2.MockTransport(self),
            sleep=self.waits.append,
            **{"backoff": Backoff(draw=lambda: 1.0), **given},
        )


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the configuration of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("MIDDLEMAN_API_KEY", "MIDDLEMAN_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Every client of this test talks to the stub."""
    made = Stub()

    def transport(url: str, key: str, **given: Any) -> Transport:
        return made.transport(key, url, **given)

    monkeypatch.setattr(client_module, "Transport", partial(transport))
    return made


@pytest.fixture
def client(stub: Stub) -> MiddlemanClient:
    return MiddlemanClient("mdlm_secret", BASE)
