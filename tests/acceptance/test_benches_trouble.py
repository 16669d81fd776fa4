"""Benches that lie, fall silent or leave, and requests, runners and servers that end meanwhile.

The benches are this test's own calls: whatever they do, a request ends, and its run is given back.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acceptance.test_mimaas import PublicClient, registered
from tests.support.nursery import run
from tests.support.server import Api, Server, doctor, eventually, running
from tests.unit.board.batch import MISSING
from tests.unit.board.make_model import small_cnn

from trainshed import __version__
from trainshed.domain.bench import MAX_PARCEL_BYTES
from trainshed.workloads.board.target.parcel import pack_execution, unpack_order
from trainshed.workloads.board.target.protocol import Execution, PowerTrace

absent = [name for name in ("qemu-system-arm", "arm-none-eabi-gcc") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(absent or MISSING), reason=f"not installed: {absent} {MISSING}"
)

BOARD = "nrf52840dk"


class Hand:
    """A bench by hand."""

    def __init__(self, server: Server) -> None:
        self.http = Api(server).http
        body = {"board": BOARD, "name": "by hand", "version": __version__}
        made = self.http.post("/v1/benches", json=body)
        assert made.status_code == 201, made.text
        self.path = f"/v1/benches/{made.json()['id']}"

    def next(self) -> str | None:
        found = self.http.post(f"{self.path}/next?wait_s=1")
        assert found.status_code == 200, found.text
        return found.json()["id"]

    def takes(self) -> str:
        return str(eventually(self.next, 120, "something to measure"))

    def parcel(self, id_: str) -> bytes:
        found = self.http.get(f"{self.path}/measurements/{id_}")
        assert found.status_code == 200, found.text
        return found.content

    def answer(self, id_: str, data: bytes) -> int:
        return self.http.put(f"{self.path}/measurements/{id_}", content=data).status_code

    def failed(self, id_: str, words: str) -> int:
        body = {"message": words}
        return self.http.post(f"{self.path}/measurements/{id_}/failed", json=body).status_code

    def leave(self) -> None:
        assert self.http.delete(self.path).status_code == 204


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("trouble") / "data") as one:
        yield one
        assert doctor(one) == []


@pytest.fixture(scope="module")
def client(server: Server) -> PublicClient:
    return registered(server)


@pytest.fixture
def hand(server: Server) -> Iterator[Hand]:
    one = Hand(server)
    yield one
    one.http = Api(server).http  # it may have been started again
    one.leave()


def job_of(server: Server, client: PublicClient, measurement: str) -> str:
    """The Job whose Attempt is measured."""
    api = Api(server, client.token)
    for one in api.ok(api.http.get("/v1/jobs"))["items"]:
        attempt = api.job(one["id"]).get("attempt") or {}
        if attempt.get("id") == measurement:
            return str(one["id"])
    raise AssertionError(f"no job of {measurement}")


def seen(data: bytes, folder: Path, **changes: Any) -> bytes:
    """What a board could have done with an order, but for its outputs, which are nothing."""
    _, firmware, inputs, n_inferences = unpack_order(data, folder)
    zeros = tuple(tuple(bytes(n) for n in firmware.output_bytes) for _ in inputs)
    trace = PowerTrace(0.01, np.ones((n_inferences, 30)).tolist())
    shown: dict[str, Any] = {
        "outputs": zeros, "n_inferences": n_inferences, "trace": trace,
        "seconds": (0.003,) * n_inferences, "stack_high_water_bytes": 0,
    }  # fmt: skip
    return pack_execution(Execution(instructions=0, layers=(), overhead=0, **(shown | changes)))


def test_what_a_bench_makes_up_is_found_out_and_costs_nothing(
    server: Server, client: PublicClient, hand: Hand, tmp_path: Path
) -> None:
    before = client.json("GET", "/me")["available_runs"]

    def nan(data: bytes) -> bytes:
        return seen(data, tmp_path).replace(b"[0.003", b"[NaN", 1)

    def endless(data: bytes) -> bytes:
        trace = PowerTrace(0.01, np.full((10, 30), np.inf).tolist())
        return seen(data, tmp_path, trace=trace)

    made_up = {
        "nothing": lambda _: b"",
        "garbage": lambda _: b"\x00\xffgarbage",
        "the order": lambda data: data,
        "deep": lambda _: b"[" * 60_000 + b"\n",
        "not a number": nan,
        "endless": endless,
        "others' outputs": lambda data: seen(data, tmp_path, outputs=((b"1",),) * 3),
        "too few": lambda data: seen(data, tmp_path, outputs=((b"1",),)),
        "wrong": lambda data: seen(data, tmp_path),
        "no current": lambda data: seen(
            data, tmp_path, trace=PowerTrace(0.01, np.zeros((10, 30)).tolist())
        ),
    }
    for name, make in made_up.items():
        number = client.submit(small_cnn(), BOARD)["id"]
        id_ = hand.takes()
        data = hand.parcel(id_)
        assert hand.answer(id_, bytes(MAX_PARCEL_BYTES + 1)) == 413
        assert hand.answer(id_, make(data)) == 204, name
        assert hand.answer(id_, b"again") == 404
        assert hand.failed(id_, "again") == 404
        ended = client.wait(number)
        assert (ended["status"], bool(ended["error_message"])) == ("error", True), (name, ended)
        assert client.json("GET", "/me")["available_runs"] == before, (name, ended)


def test_only_who_has_it_may_answer(server: Server, client: PublicClient, hand: Hand) -> None:
    other = Hand(server)
    numbers = [client.submit(small_cnn(), BOARD)["id"] for _ in range(2)]
    mine, theirs = hand.takes(), other.takes()
    assert mine != theirs
    assert hand.answer(theirs, b"x") == 404
    assert hand.http.get(f"{hand.path}/measurements/{theirs}").status_code == 404
    stranger = Api(server, client.token).http
    for method, path in (
        ("POST", "/next"), ("POST", "/renew"), ("GET", f"/measurements/{mine}"),
        ("PUT", f"/measurements/{mine}"), ("POST", f"/measurements/{mine}/failed"),
        ("DELETE", ""),
    ):  # fmt: skip
        assert stranger.request(method, hand.path + path).status_code == 403
    other.leave()  # what it had goes to whoever is left
    assert hand.failed(mine, "The pin is loose.") == 204
    assert hand.takes() == theirs
    assert hand.failed(theirs, "It is loose again.") == 204
    said = [client.wait(number)["error_message"] for number in numbers]
    assert sorted("loose" in words for words in said) == [True, True]


def test_a_request_that_ends_while_it_is_measured(
    server: Server, client: PublicClient, hand: Hand
) -> None:
    number = client.submit(small_cnn(), BOARD)["id"]
    id_ = hand.takes()
    api, job_id = Api(server, client.token), job_of(server, client, id_)
    api.ok(api.http.post(f"/v1/jobs/{job_id}/pause"))
    api.wait(job_id, "PAUSED")
    assert hand.answer(id_, b"late") == 404
    assert hand.next() is None
    api.ok(api.http.post(f"/v1/jobs/{job_id}/resume"))
    again = hand.takes()
    assert again != id_
    assert client.call("DELETE", f"/api/requests/{number}").status_code in (200, 204)
    api.wait(job_id, "CANCELLED")
    assert hand.http.get(f"{hand.path}/measurements/{again}").status_code == 404
    assert api.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert hand.next() is None


def test_a_runner_and_a_server_that_are_killed_meanwhile(
    server: Server, client: PublicClient, hand: Hand, tmp_path: Path
) -> None:
    before = client.json("GET", "/me")["available_runs"]
    number = client.submit(small_cnn(), BOARD)["id"]
    first = hand.takes()
    api, job_id = Api(server, client.token), job_of(server, client, first)
    workspace = next(server.data.glob(f"**/{first}"))
    runner = int(os.getxattr(workspace, "user.trainshed.runner").split()[0])
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: api.job(job_id)["n_attempts"] == 2, 120, "a second attempt")
    assert hand.answer(first, b"late") == 404
    second = hand.takes()
    copy = tmp_path / "copy"
    done = run("backup", "--data", str(server.data), str(copy))
    assert done.returncode == 0, done.stderr
    server.kill()
    assert run("doctor", "--verify", "--data", str(server.data)).returncode == 0
    server.start()
    hand.http = Api(server).http
    assert hand.parcel(second)
    assert hand.failed(second, "After all: the pin is loose.") == 204
    assert "After all" in client.wait(number)["error_message"]
    assert client.json("GET", "/me")["available_runs"] == before
    restored = tmp_path / "restored"
    assert run("restore", str(copy), "--data", str(restored)).returncode == 0
    with running(restored) as elsewhere:
        assert doctor(elsewhere) == []
