"""The Middleman door without a runner: a world with it, and a caller at one of its addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.deps import Person, World, world

from trainshed.dialects import middleman, native
from trainshed.domain.pricing import Package
from trainshed.ports.deps import Policy

DOORS = [native.door(), middleman.door()]
ROOT = "/middleman/api/v1"
POLICY = Policy(
    min_free_bytes=0, cpu_fallback=True, low_ucredits=100_000_000,
    packages=(Package("one", "One", 100, 95),),
)  # fmt: skip


@contextlib.contextmanager
def middleman_world(tmp_path: Path) -> Iterator[World]:
    """A fresh server whose admin has sent train.py."""
    with world(tmp_path, POLICY, doors=DOORS) as one:
        one.upload(one.admin, "train.py", b"print(1)")
        yield one


class Api:
    """One caller at one of the door's addresses."""

    def __init__(self, w: World, person: Person, root: str = ROOT) -> None:
        self.w, self.root = w, root
        self.headers = {"X-API-Key": person.key}

    def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.w.client.request(method, self.root + path, headers=self.headers, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def job(self, status: int = 201, **body: Any) -> Any:
        return self(
            "POST", "/jobs", status, json={"script_path": "train.py", "gpu_type": "a100", **body}
        )

    def refused(self, answer: Any) -> str:
        assert set(answer) == {"error", "detail"}
        assert set(answer["error"]) == {"code", "message", "details"}
        assert answer["detail"] == answer["error"]["message"]
        return str(answer["error"]["code"])
