"""Benches without hardware: who may attach one, who gets which measurement, and what is left."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import Person, World, serving, world
from tests.support.mimaas import (
    DOORS,
    FILES,
    MODEL,
    POLICY,
    RESULT,
    StandInCheck,
    engine_of,
    placed,
)

from trainshed import __version__
from trainshed.bootstrap.boards import LocalBoards
from trainshed.domain.attempt import Ending
from trainshed.domain.bench import LEASE, Measured
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.ledger import Unit
from trainshed.domain.resources import GIB, Offer
from trainshed.http.hall import HttpSettings
from trainshed.usecases import accounts, attempts, benches, board_requests, control, dispatch

BOARD = "nrf52840dk"
FACTOR = {
    "board": BOARD, "factor": 1.25, "model": "0" * 64, "date": "2026-03-01", "version": "1",
    "measured_s": 0.003,
}  # fmt: skip


class Boards(LocalBoards):
    """The real facts and files; nothing is missing."""

    def missing(self) -> str:
        return ""


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    wings = {"boards": Boards(tmp_path / "kept"), "model_check": StandInCheck()}
    settings = HttpSettings(version=__version__)
    with world(tmp_path, POLICY, settings, doors=DOORS, deps=wings) as one:
        yield one


def attached(w: World, who: Person | None = None, **body: Any) -> Any:
    body = {"board": BOARD, "name": "desk", "version": __version__} | body
    return w.client.post("/v1/benches", json=body, headers=(who or w.admin).headers)


def request(w: World, who: Person, board: str = BOARD) -> str:
    wanted = board_requests.Wanted(who.principal, board, "m.tflite", MODEL, False, "mimaas")
    return board_requests.create(w.deps, wanted).job.id


def asked(w: World, who: Person, data: bytes = b"image") -> str:
    """A request that runs and waits for a bench; return its Attempt."""
    attempt_id = placed(w, who, request(w, who)).id
    w.deps.store.write(benches.asking(engine_of(w), attempt_id, data))
    return attempt_id


def runs(w: World, who: Person) -> Person:
    account = who.principal.account_id
    accounts.grant(w.deps, w.admin.principal, account, 5_000_000, Unit.BOARD_RUN, "")
    return who


def user(w: World) -> Person:
    return runs(w, w.person("user"))


def test_who_may_attach_what(w: World) -> None:
    assert attached(w, user(w)).status_code == 403
    assert "install the server's version" in attached(w, version="0.0.1").json()["detail"]
    assert "[wiring]" in attached(w, board="rpi_pico").json()["detail"]
    assert "There is no board" in attached(w, board="none").json()["detail"]
    for scope, status in (("read", 403), ("write", 201)):
        key = w.key(w.admin.principal, scopes=(scope,)).secret or ""
        made = attached(w, Person(w.admin.principal, key))
        assert made.status_code == status, scope
    assert made.json()["lease_s"] == LEASE.total_seconds()
    shown = w.client.get("/v1/boards/" + BOARD, headers=w.admin.headers).json()
    assert (shown["benches"], shown["source"]) == (1, "measured")
    assert (shown["duration_band"], shown["power_band"]) == (0.002, 0.1)
    assert shown["power_basis"] == "measured here"
    other = w.client.get("/v1/boards/rpi_pico", headers=w.admin.headers).json()
    assert (other["benches"], other["source"]) == (0, "emulated")
    w.clock.advance(LEASE.total_seconds() + 1)
    shown = w.client.get("/v1/boards/" + BOARD, headers=w.admin.headers).json()
    assert (shown["benches"], shown["source"]) == (0, "emulated")


def test_a_request_is_measured_where_a_bench_is(w: World) -> None:
    one = user(w)
    before = request(w, one)
    bench_id = attached(w).json()["id"]
    after, elsewhere = request(w, one), request(w, one, "nrf5340dk")
    jobs = w.deps.store.read(lambda tx: [tx.jobs.get(i) for i in (before, after, elsewhere)])
    assert [job.spec.params["bench"] for job in jobs] == [False, True, False]
    answer = w.client.delete(f"/v1/benches/{bench_id}", headers=w.admin.headers)
    assert answer.status_code == 204
    later = request(w, one)
    assert w.deps.store.read(lambda tx: tx.jobs.get(later)).spec.params["bench"] is False


def test_one_measurement_goes_to_one_bench(w: World) -> None:
    one = user(w)
    first, second = (attached(w).json()["id"] for _ in range(2))
    a, b = asked(w, one, b"a"), asked(w, one, b"b")
    assert benches.take(w.deps, first).attempt_id == a  # type: ignore[union-attr]
    assert benches.take(w.deps, second).attempt_id == b  # type: ignore[union-attr]
    # asking again gives what the bench has already
    assert benches.take(w.deps, first).attempt_id == a  # type: ignore[union-attr]
    assert benches.parcel(w.deps, first, a) == b"a"
    with pytest.raises(NotFound):
        benches.parcel(w.deps, second, a)
    with pytest.raises(NotFound):
        benches.answer(w.deps, second, a, Measured(b"x"))
    benches.answer(w.deps, first, a, Measured(b"x"))
    assert benches.outcome(w.deps, a) == Measured(b"x")
    with pytest.raises(NotFound):
        benches.answer(w.deps, first, a, Measured(b"again"))
    assert benches.outcome(w.deps, b) is None
    assert benches.take(w.deps, first) is None


def test_a_silent_bench_gives_its_work_back(w: World) -> None:
    first, second = (attached(w).json()["id"] for _ in range(2))
    a = asked(w, user(w))
    assert benches.take(w.deps, first) is not None
    w.clock.advance(LEASE.total_seconds() - 1)
    assert benches.take(w.deps, second) is None
    w.clock.advance(2)
    benches.renew(w.deps, second)
    assert benches.take(w.deps, second).attempt_id == a  # type: ignore[union-attr]
    with pytest.raises(NotFound):  # too late
        benches.answer(w.deps, first, a, Measured(b"late"))
    benches.detach(w.deps, w.admin.principal, second)
    benches.renew(w.deps, first)
    assert benches.take(w.deps, first).attempt_id == a  # type: ignore[union-attr]


def test_without_a_bench_the_wait_is_given_up(w: World) -> None:
    bench_id = attached(w).json()["id"]
    a = asked(w, user(w))
    assert benches.given_up(engine_of(w), a) is None
    benches.detach(w.deps, w.admin.principal, bench_id)
    found = benches.given_up(engine_of(w), a)
    assert found is not None
    assert "No bench" in found.failure


def test_only_a_job_that_measures_may_ask(w: World) -> None:
    one = user(w)
    w.credits(one)
    emulated = placed(w, one, request(w, one)).id
    command = placed(w, one, w.submit(one, params={})).id
    for attempt_id in (emulated, command):
        with pytest.raises(InvalidInput, match="does not measure"):
            w.deps.store.write(benches.asking(engine_of(w), attempt_id, b"firmware of mine"))


@pytest.mark.parametrize("own", [True, False])
def test_the_run_of_who_attached_it_calibrates(w: World, own: bool, tmp_path: Path) -> None:
    one = user(w)
    if own:
        runs(w, w.admin)
    who = w.admin if own else one
    bench_id = attached(w).json()["id"]
    attempt_id = asked(w, who)
    benches.take(w.deps, bench_id)
    benches.answer(w.deps, bench_id, attempt_id, Measured(b"measured"))
    benches.tidy(w.deps)  # still runs: kept
    assert benches.outcome(w.deps, attempt_id) is not None
    job_id = w.deps.store.read(lambda tx: tx.attempts.get(attempt_id)).job_id
    said = {"fault": None, "code": "ok", "message": "", "result": RESULT}
    left = {**FILES, "outcome.json": json.dumps(said).encode()}
    left["calibration.json"] = json.dumps(FACTOR).encode()
    w.artifact(who, job_id, attempt_id, left)
    attempts.finish(engine_of(w), attempt_id, Ending("exited", 0, runtime_ms=1500))
    benches.tidy(w.deps)
    assert benches.outcome(w.deps, attempt_id) is None
    assert (tmp_path / "kept" / f"{BOARD}.json").exists() is own
    assert (w.deps.boards.measured(BOARD) is not None) is own  # type: ignore[union-attr]


def test_a_calibration_that_is_none_is_dropped(tmp_path: Path) -> None:
    boards = LocalBoards(tmp_path)
    for wrong in ({}, {**FACTOR, "board": "rpi_pico"}, {**FACTOR, "factor": 1e9}):
        boards.calibrate(BOARD, wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_long_silent_bench_is_forgotten(w: World) -> None:
    bench_id = attached(w).json()["id"]
    w.clock.advance(3700)
    benches.tidy(w.deps)
    path = f"/v1/benches/{bench_id}/next"
    assert w.client.post(path, headers=w.admin.headers).status_code == 404
    assert w.client.get("/v1/benches", headers=w.admin.headers).json()["items"] == []


def test_the_wire_of_a_bench(w: World) -> None:
    head, path = w.admin.headers, f"/v1/benches/{attached(w).json()['id']}"
    one = user(w)
    assert w.client.post(f"{path}/next", headers=head).json() == {"id": None, "board": BOARD}
    a = asked(w, one, b"\x7fELF")
    assert w.client.post(f"{path}/next?wait_s=1", headers=head).json()["id"] == a
    work = f"{path}/measurements/{a}"
    assert w.client.get(work, headers=head).content == b"\x7fELF"
    assert w.client.get(work, headers=one.headers).status_code == 403
    assert w.client.put(work, headers=one.headers, content=b"x").status_code == 403
    assert w.client.post(f"{path}/renew", headers=head).json()["board"] == BOARD
    said = w.client.post(f"{work}/failed", headers=head, json={"message": "The pin is loose."})
    assert said.status_code == 204
    assert benches.outcome(w.deps, a) == Measured(failure="The pin is loose.")
    assert w.client.put(work, headers=head, content=b"x").status_code == 404
    b = asked(w, one)
    assert w.client.post(f"{path}/next", headers=head).json()["id"] == b
    whole = w.client.put(f"{path}/measurements/{b}", headers=head, content=b"trace")
    assert whole.status_code == 204
    assert benches.outcome(w.deps, b) == Measured(b"trace")


def test_a_deleted_request_does_not_stop_the_housekeeping(w: World) -> None:
    one = user(w)
    bench_id = attached(w).json()["id"]
    gone, kept = asked(w, one), asked(w, one)
    for attempt_id in (gone, kept):
        benches.take(w.deps, bench_id)
        benches.answer(w.deps, bench_id, attempt_id, Measured(b"measured"))
        attempts.finish(engine_of(w), attempt_id, Ending("exited", 0, runtime_ms=1500))
    job_id = w.deps.store.read(lambda tx: tx.attempts.get(gone)).job_id
    control.delete(w.deps, one.principal, job_id)
    benches.tidy(w.deps)
    assert w.deps.store.read(lambda tx: tx.benches.measurements()) == []


def test_those_that_measure_start_in_turn(w: World) -> None:
    """One more than the board has benches, whoever's they are; nobody else waits for them."""
    one, other = user(w), runs(w, w.person("other"))
    w.credits(other)
    bench_id = attached(w).json()["id"]
    first = [request(w, one) for _ in range(4)]
    second = [request(w, other) for _ in range(2)]
    elsewhere = request(w, one, "nrf5340dk")
    command = w.submit(other)
    w.executor.machine = Offer("local", "process", "local-cpu", 16_000, 64 * GIB)
    engine = engine_of(w)

    def placed_now() -> dict[str, str]:
        return {held.job_id: held.id for held in dispatch.lease(engine)}

    def waits(job_id: str, who: Person) -> Any:
        return w.client.get(f"/v1/jobs/{job_id}", headers=who.headers).json()["wait_reason"]

    begun = placed_now()
    assert set(begun) == {first[0], second[0], elsewhere, command}
    assert placed_now() == {}
    assert waits(first[1], one)["code"] == "bench"
    listed = w.client.get("/v1/jobs", headers=one.headers).json()["items"]
    assert {j["wait_reason"]["code"] for j in listed if j["id"] in first[1:]} == {"bench"}
    attempts.finish(engine, begun[second[0]], Ending("exited", 0))
    (next_,) = placed_now()
    assert next_ in {first[1], second[1]}
    attached(w)
    assert len(placed_now()) == 1
    benches.detach(w.deps, w.admin.principal, bench_id)
    assert placed_now() == {}


def test_a_long_question_does_not_keep_a_bench_there(w: World) -> None:
    path = f"/v1/benches/{attached(w).json()['id']}/next?wait_s=2"
    asked_at = w.clock.utc_now()
    assert w.client.post(path, headers=w.admin.headers).json()["id"] is None
    (bench,) = benches.listing(w.deps)
    assert bench.seen_at - asked_at < timedelta(seconds=1)
    a = asked(w, user(w))
    before = w.clock.utc_now()
    assert benches.take(w.deps, bench.id).attempt_id == a  # type: ignore[union-attr]
    (bench,) = benches.listing(w.deps)
    assert bench.seen_at >= before, "its time for this begins now"


def test_nothing_is_given_to_a_bench_that_went_away(w: World) -> None:
    """Killed while it asked: what comes is not taken for it, but waits for the next one."""
    bench_id = attached(w).json()["id"]
    head = f"POST /v1/benches/{bench_id}/next?wait_s=20 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: {w.admin.headers['Authorization']}\r\nContent-Length: 0\r\n\r\n"
    with serving(w.app) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with socket.create_connection(address, 10) as link:
            link.sendall(head.encode())
            before = w.deps.store.read(lambda tx: tx.benches.get(bench_id)).seen_at
            until = time.monotonic() + 20
            while w.deps.store.read(lambda tx: tx.benches.get(bench_id)).seen_at == before:
                assert time.monotonic() < until, "it has not asked"
                time.sleep(0.02)
        a = asked(w, user(w))
        time.sleep(2.5)  # it is looked for every second
    one = w.deps.store.read(lambda tx: tx.benches.of_attempt(a))
    assert one is not None
    assert one.bench_id is None


def test_a_server_that_has_just_begun_waits_for_its_benches(w: World) -> None:
    bench_id = attached(w).json()["id"]
    a = asked(w, user(w))
    benches.detach(w.deps, w.admin.principal, bench_id)
    engine = replace(engine_of(w), begun=w.clock.monotonic())
    assert benches.given_up(engine, a) is None
    w.clock.advance(benches.AFRESH_S + 1)
    assert benches.given_up(engine, a) is not None


def test_what_could_not_be_measured_is_refused(w: World) -> None:
    """Else it would run, wait, fail, and cost nothing, as often as somebody likes."""
    one = user(w)
    sent = w.upload(one, "model.tflite", MODEL)
    inputs = [{"source": "upload", "ref": sent, "path": "model.tflite"}]
    body = {"workload": "board", "params": {"board": BOARD, "bench": True}, "inputs": inputs}

    def status(path: str = "/v1/jobs") -> tuple[int, str]:
        made = w.client.post(path, json=body, headers=one.headers)
        return made.status_code, made.json().get("detail", "")

    for path in ("/v1/jobs", "/v1/jobs/plan"):
        assert status(path)[0] == 400
        assert "is attached now" in status(path)[1]
    attached(w)
    assert status("/v1/jobs/plan")[0] == 200
    assert status()[0] == 201
    w.clock.advance(LEASE.total_seconds() + 1)
    assert status()[0] == 400
