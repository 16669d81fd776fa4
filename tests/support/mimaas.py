"""The MIMaaS door without a runner: a world with it, a stand-in for the check, and ended runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.deps import Person, World, world

from trainshed.bootstrap.boards import LocalBoards
from trainshed.dialects import native
from trainshed.dialects.mimaas.routes import door
from trainshed.domain.attempt import Attempt, Ending
from trainshed.domain.board import Board, Estimate, Finding, Report
from trainshed.domain.job import derived
from trainshed.domain.pricing import BoardPlan
from trainshed.domain.states import AttemptState
from trainshed.ports.deps import Policy
from trainshed.usecases import attempts
from trainshed.usecases.engine import Engine, Seat
from trainshed.usecases.leases import Leases

DOORS = [native.door(), door()]
PLANS = (BoardPlan("free", 3), BoardPlan("pro", 200, 2900), BoardPlan("club", 5, 0, "EUR", 0))
POLICY = Policy(min_free_bytes=0, sign_up_open=True, board_plans=PLANS, board_emulators=2)
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(64)
RESULT = {
    "ram_usage": 49_356, "rom_usage": 115_200, "duration_avg_s": 0.01234,
    "avg_power_uW": 3702.1, "avg_energy_uJ": 45.68,
}  # fmt: skip
FILES = {
    "ram.json": b"{}", "rom.json": b"{}", "ppk2_summary.csv": b"segment_id\n0\n",
    "ppk2_samples.csv": b"segment_id,time_ms,current_uA\n0,0.0,1.0\n", "layers.json": b"[]",
    "report.json": b"{}", "model.tflite": MODEL, "firmware.elf": b"\x7fELF",
}  # fmt: skip


class StandInCheck:
    """Takes whatever has the mark of the format; notes how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def check(
        self, model: bytes, board: Board, quantize: bool, who: str = "", arrays: Any = None
    ) -> Report:
        self.asked += 1
        if model[4:8] != b"TFL3":
            return Report((Finding("invalid_model", "No TensorFlow Lite file."),), (), None)
        warning = Finding("synthetic_calibration", "The calibration set is made up.")
        return Report((), (warning,) if quantize else (), Estimate(1024, 2048, 4096, 3))


class StandInBoards(LocalBoards):
    """The real facts; what is missing is said by the test."""

    absent = ""

    def missing(self) -> str:
        return self.absent


@contextlib.contextmanager
def mimaas_world(tmp_path: Path, policy: Policy = POLICY, **deps: Any) -> Iterator[World]:
    """A fresh server with boards."""
    wings = {"boards": StandInBoards(), "model_check": StandInCheck(), **deps}
    with world(tmp_path, policy, doors=DOORS, deps=wings) as one:
        yield one


def engine_of(w: World) -> Engine:
    """An engine on the world's wings."""
    return Engine(w.deps, Leases(w.deps.policy.lease), Seat("here"))


def placed(w: World, person: Person, job_id: str) -> Attempt:
    """Let a Job run."""
    attempt = w.lease(person, job_id)
    w.deps.store.write(lambda tx: tx.jobs.save(derived(tx.jobs.get(job_id), AttemptState.RUNNING)))
    return attempt


def run_ends(
    w: World, person: Person, job_id: str, exit_code: int = 0, cause: str = "exited",
    outcome: Mapping[str, Any] | None = None, files: Mapping[str, bytes] = FILES,
) -> None:  # fmt: skip
    """Let a Job run, leave files and end, as a runner would report it."""
    attempt = placed(w, person, job_id)
    said = outcome or {"fault": None, "code": "", "message": "", "result": RESULT}
    left = {**files, "outcome.json": json.dumps(said).encode()}
    w.artifact(person, job_id, attempt.id, left)
    ending = Ending(cause, exit_code if cause == "exited" else None, runtime_ms=1500)
    attempts.finish(engine_of(w), attempt.id, ending)


class Client:
    """The calls of the public client, as it makes them: no session, a bare token, no Accept."""

    def __init__(self, w: World, token: str = "", root: str = "") -> None:
        self.w, self.token, self.root = w, token, root

    def raw(self, method: str, path: str, auth: bool = True, **more: Any) -> Any:
        headers = {"Authorization": self.token} if auth and self.token else {}
        return self.w.client.request(method, self.root + path, headers=headers, **more)

    def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.raw(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def send(
        self, path: str = "/api/requests/", status: int = 201, model: bytes = MODEL,
        name: str = "model.tflite", board: str = "nrf5340dk", quantize: str | None = "false",
        calibration: bytes | None = None,
    ) -> Any:  # fmt: skip
        form = {"board": board} | ({} if quantize is None else {"quantize": quantize})
        sent = {"network": (name, model, "application/octet-stream")}
        if calibration is not None:
            sent["calibration"] = ("set.npz", calibration, "application/octet-stream")
        return self("POST", path, status, files=sent, data=form)

    def register(self, name: str = "johndoe", status: int = 201, **more: Any) -> Any:
        body = {
            "username": name, "email": f"{name}@example.com", "first_name": "John",
            "surname": "Doe", "password": "secure_password", "plan": "free", **more,
        }  # fmt: skip
        answer = self("POST", "/register", status, auth=False, json=body)
        if status == 201:
            self.token = answer["api_token"]
        return answer


def job_of(w: World, client: Client, number: int) -> str:
    """The Job of a request."""
    found = w.deps.store.read(lambda tx: tx.records.object_id("mimaas", "request", str(number)))
    assert found is not None
    return found


def runs(client: Client) -> int:
    """How many runs a client has left."""
    return int(client("GET", "/me")["available_runs"])


def person_of(w: World, client: Client) -> Person:
    """The person whose token a client has."""
    from trainshed.usecases import keys

    return Person(keys.authenticate(w.deps, client.token), client.token)


def with_policy(**changes: Any) -> Policy:
    """The usual policy, changed."""
    return dataclasses.replace(POLICY, **changes)
