"""What is too much at once is refused, says when to come back, and leaves health alone (G20)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.deps import NO_LIMITS, World, serving, world

from trainshed.dialects.native import door
from trainshed.domain.errors import Overloaded
from trainshed.http.admission import Admission
from trainshed.http.guards import READ, Door, Route
from trainshed.http.hall import Called, HttpSettings


class Slow:
    """An endpoint that works until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Semaphore(0), threading.Event()

    def door(self) -> Door:
        def slow(call: Called) -> None:
            """Work."""
            self.inside.release()
            assert self.go.wait(30)

        return Door("slow", "/slow", [Route("GET", "", slow, READ, 204)], listed=False)


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go.set()


def small(max_open: int, max_working: int) -> HttpSettings:
    return HttpSettings(rate_limits=NO_LIMITS, max_open=max_open, max_working=max_working)


def refused(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "overloaded"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"]


def get(w: World, url: str, path: str) -> httpx2.Response:
    return httpx2.get(url + path, headers=w.admin.headers, timeout=30)


def test_no_more_work_than_there_is_room_for(tmp_path: Path, slow: Slow) -> None:
    doors = [door(), slow.door()]
    with world(tmp_path, settings=small(50, 2), doors=doors) as w, serving(w.app) as url:
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(get, w, url, "/slow") for _ in range(2)]
            for _ in busy:
                assert slow.inside.acquire(timeout=30)
            refused(get(w, url, "/v1/credits"))
            made = httpx2.post(
                f"{url}/v1/jobs", json={"command": ["true"]}, headers=w.admin.headers
            )
            refused(made)
            refused(httpx2.get(f"{url}/v1/signed/none", timeout=30))
            assert httpx2.get(f"{url}/v1/health", timeout=30).status_code == 200
            slow.go.set()
            assert [one.result().status_code for one in busy] == [204, 204]
        assert get(w, url, "/v1/credits").status_code == 200
        assert get(w, url, "/v1/jobs").json()["items"] == [], "a refused job was not made"


def test_no_more_open_streams_than_there_is_room_for(tmp_path: Path) -> None:
    with world(tmp_path, settings=small(2, 50)) as w, serving(w.app) as url:
        path = f"/v1/jobs/{w.submit(w.admin)}/logs/follow"
        http = httpx2.Client(base_url=url, headers=w.admin.headers, timeout=30)
        with http, http.stream("GET", path) as one, http.stream("GET", path) as two:
            assert (one.status_code, two.status_code) == (200, 200)
            refused(http.get("/v1/credits"))
            assert http.get("/v1/health").status_code == 200
        until = threading.Event()
        for _ in range(100):
            if get(w, url, "/v1/credits").status_code == 200:
                break
            until.wait(0.1)
        else:
            raise AssertionError("places come back when streams end")


@pytest.mark.anyio
async def test_places_come_back_whatever_happens() -> None:
    admission = Admission(2, 1)

    async def fails() -> Any:
        async with admission.open():
            with admission.working():
                raise KeyError

    for _ in range(5):
        with pytest.raises(KeyError):
            await fails()
    with admission.working():
        with pytest.raises(Overloaded), admission.working():
            pass
        with pytest.raises(Overloaded):
            await fails()
        async with admission.open(runner=True), admission.open(runner=True):
            with pytest.raises(Overloaded):
                async with admission.open(runner=True):
                    pass
    with pytest.raises(KeyError):
        await fails()


@pytest.mark.anyio
async def test_a_limit_of_zero_is_none() -> None:
    admission = Admission(0, 0)
    async with admission.open(), admission.open():
        with admission.working(), admission.working():
            pass


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
