"""The public MIMaaS client's calls, one connection each, on a real server with real runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.server import Api, Server, doctor, eventually, running
from tests.unit.board.make_model import small_cnn

PROGRAMS = ("qemu-system-arm", "arm-none-eabi-gcc", "gcc")
absent = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")

BOARD = "nrf5340dk"
RUN_S = 180.0


class PublicClient:
    """The wire of the public client: ``requests.get(api_url + path, headers=…)`` and the like."""

    def __init__(self, url: str) -> None:
        self.url, self.token = url, ""

    def call(self, method: str, path: str, auth: bool = True, **more: Any) -> httpx2.Response:
        headers = {"Authorization": self.token} if auth else {}
        return httpx2.request(
            method, self.url + path, headers=headers, timeout=120, follow_redirects=True, **more
        )

    def json(self, method: str, path: str, **more: Any) -> Any:
        answer = self.call(method, path, **more)
        assert answer.status_code in (200, 201), (answer.status_code, answer.text)
        return answer.json()

    def submit(self, model: bytes, board: str = BOARD, quantize: bool = False) -> Any:
        sent = {"network": ("model.tflite", model, "application/octet-stream")}
        form = {"board": board, "quantize": "true" if quantize else "false"}
        return self.json("POST", "/api/requests/", files=sent, data=form)

    def wait(self, request_id: int) -> Any:
        def look() -> Any:
            found = self.json("GET", f"/api/requests/{request_id}")
            return found if found["status"] in ("done", "error") else None

        return eventually(look, RUN_S, f"request {request_id}")

    def fetch(self, request_id: int, kind: str) -> bytes:
        answer = self.call("GET", f"/api/requests/{request_id}/artifacts/{kind}")
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("mimaas") / "data") as one:
        yield one
        assert doctor(one) == []


def registered(server: Server) -> PublicClient:
    """The seed's user, on the free plan."""
    one = PublicClient(server.url)
    body = {
        "username": "johndoe", "email": "john@example.com", "first_name": "John",
        "surname": "Doe", "password": "secure_password", "plan": "free",
    }  # fmt: skip
    assert len(one.json("POST", "/register", auth=False, json=body)["api_token"]) == 64
    login = {"username": "johndoe", "password": "secure_password"}
    one.token = one.json("POST", "/login", auth=False, json=login)["api_token"]
    return one


@pytest.fixture(scope="module")
def client(server: Server) -> PublicClient:
    return registered(server)


@pytest.fixture(scope="module")
def done(client: PublicClient) -> Any:
    """A small network that has run on the emulated board."""
    assert client.json("GET", "/me")["available_runs"] == 10
    sent = {"network": ("model.tflite", small_cnn(), "application/octet-stream")}
    said = client.json("POST", "/api/validate", files=sent, data={"board": BOARD})
    assert (said["valid"], said["errors"]) == (True, [])
    assert client.json("GET", "/me")["available_runs"] == 10
    made = client.submit(small_cnn())
    assert made["status"] in ("pending", "processing")
    ended = client.wait(made["id"])
    assert ended["status"] == "done", ended
    return ended


def test_what_the_client_reads(client: PublicClient, done: Any) -> None:
    assert client.json("GET", "/me")["available_runs"] == 9
    boards = {b["name"]: b for b in client.json("GET", "/api/boards", auth=False)["boards"]}
    one = client.json("GET", f"/api/boards/{BOARD}", auth=False)
    assert one["specifications"] == boards[BOARD]["specifications"]
    status = client.json("GET", f"/api/boards/{BOARD}/status", auth=False)
    assert (status["status"], status["queue_length"]) == ("available", 0)
    assert client.json("GET", "/api/plans", auth=False)["plans"][0]["name"] == "free"
    listed = client.json("GET", "/api/requests/", params={"status": "done", "board": BOARD})
    assert listed == [done]
    result = done["result"]
    assert all(result[name] > 0 for name in result)
    energy = result["avg_power_uW"] * result["duration_avg_s"]
    assert energy == pytest.approx(result["avg_energy_uJ"], rel=0.01)


def test_its_artifacts_add_up_to_the_result(client: PublicClient, done: Any) -> None:
    result, number = done["result"], done["id"]
    ram, rom = (json.loads(client.fetch(number, f"{kind}_report")) for kind in ("ram", "rom"))
    assert ram["total_size"] == result["ram_usage"]
    assert rom["total_size"] == result["rom_usage"]
    rows = list(csv.DictReader(io.StringIO(client.fetch(number, "power_samples").decode())))
    assert {"segment_id", "time_ms", "current_uA"} <= set(rows[0])
    assert {int(r["segment_id"]) for r in rows} == set(range(10))
    volts = client.json("GET", f"/api/boards/{BOARD}")["specifications"]["voltage"] / 1000
    mean = sum(float(r["current_uA"]) for r in rows) / len(rows)
    assert mean * volts == pytest.approx(result["avg_power_uW"], rel=0.01)
    assert b"segment_id" in client.fetch(number, "power_summary")
    assert client.fetch(number, "model") == small_cnn()
    packed = zipfile.ZipFile(io.BytesIO(client.fetch(number, "all")))
    named = {"ram.json", "rom.json", "ppk2_summary.csv", "ppk2_samples.csv", "model.tflite"}
    assert named <= set(packed.namelist())
    assert packed.read("firmware.elf")[:4] == b"\x7fELF"


def test_the_run_is_a_job_that_cost_one_run(
    server: Server, client: PublicClient, done: Any
) -> None:
    mine = Api(server, client.token)
    (job,) = mine.ok(mine.http.get("/v1/jobs", params={"workload": "board"}))["items"]
    assert (job["state"], job["pool"], job["network"]) == ("SUCCEEDED", "boards", "none")
    receipt = mine.ok(mine.http.get(f"/v1/jobs/{job['id']}/receipt"))
    assert (receipt["unit"], receipt["captured_ucredits"]) == ("board_run", 1_000_000)
    balances = mine.ok(mine.http.get("/v1/credits"))["balances"]
    held = {b["unit"]: (b["balance_ucredits"], b["held_ucredits"]) for b in balances}
    assert held == {"credit": (0, 0), "board_run": (9_000_000, 0)}


def test_what_was_built_is_kept_for_the_account(server: Server, done: Any) -> None:
    account = server.data / "caches" / "board"
    kept = [p.name for p in account.rglob("*") if p.is_file()]
    assert [n for n in kept if n.endswith(".elf")], kept
    assert [n for n in kept if n.startswith("counter-")], kept


def test_a_broken_model_costs_nothing(client: PublicClient, done: Any) -> None:
    before = client.json("GET", "/me")["available_runs"]
    for model in (b"GIF89a" + bytes(100), small_cnn()[:400]):
        sent = {"network": ("m.tflite", model, "application/octet-stream")}
        said = client.json("POST", "/api/validate", files=sent, data={"board": BOARD})
        assert said["valid"] is False
        assert said["errors"]
        answer = client.call("POST", "/api/requests/", files=sent, data={"board": BOARD})
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"]
    assert client.json("GET", "/me")["available_runs"] == before


def test_through_the_native_door(server: Server, done: Any) -> None:
    """A model of the user's own sending, as a Job by /v1; its faults are charged."""
    admin = Api(server)
    shown = admin.ok(admin.http.get(f"/v1/boards/{BOARD}"))
    assert (shown["name"], shown["status"], shown["source"]) == (BOARD, "available", "emulated")
    upload = admin.upload("net.tflite", small_cnn())
    check = {"upload_id": upload}
    said = admin.ok(admin.http.post(f"/v1/boards/{BOARD}/check", json=check))
    assert said["valid"]
    body = {
        "workload": "board", "params": {"board": BOARD, "model": "net.tflite"},
        "inputs": [{"source": "upload", "ref": upload, "path": "net.tflite"}],
    }  # fmt: skip
    plan = admin.ok(admin.http.post("/v1/jobs/plan", json=body))
    assert (plan["pool"], plan["hold_ucredits"]) == ("boards", 1_000_000)
    job = admin.ok(admin.http.post("/v1/jobs", json=body))
    broken = admin.upload("bad.tflite", b"nothing of the kind")
    body["inputs"] = [{"source": "upload", "ref": broken, "path": "net.tflite"}]
    bad = admin.ok(admin.http.post("/v1/jobs", json=body))
    assert admin.wait(job["id"], timeout_s=RUN_S)["state"] == "SUCCEEDED"
    ended = admin.wait(bad["id"], timeout_s=RUN_S)
    assert (ended["state"], ended["attempt"]["exit_code"]) == ("FAILED", 10)
    for job_id in (job["id"], bad["id"]):
        receipt = admin.ok(admin.http.get(f"/v1/jobs/{job_id}/receipt"))
        assert receipt["captured_ucredits"] == 1_000_000
    again = admin.ok(admin.http.post(f"/v1/jobs/{job['id']}/retry"))
    assert admin.wait(again["id"], timeout_s=RUN_S)["state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "change",
    [
        {"env": {"PATH": "."}},
        {"command": ["python", "mine.py"]},
        {"params": {"board": "none"}},
        {"params": {"board": BOARD, "model": "../x.tflite"}},
        {"params": {"board": BOARD, "model": "sitecustomize.py"}},
        {"inputs": []},
    ],
    ids=["env", "command", "board", "path", "module", "inputs"],
)
def test_nothing_of_the_users_runs(server: Server, change: dict[str, Any]) -> None:
    admin = Api(server)
    upload = admin.upload("model.tflite", b"x")
    body = {
        "workload": "board", "params": {"board": BOARD},
        "inputs": [{"source": "upload", "ref": upload, "path": "model.tflite"}], **change,
    }  # fmt: skip
    answer = admin.http.post("/v1/jobs", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"]


def test_the_first_token_is_in_the_file(server: Server) -> None:
    admin = PublicClient(server.url)
    admin.token = server.credentials["mimaas_token"]
    me = admin.json("GET", "/me")
    assert (me["username"], me["plan"]) == ("admin", "free")


def test_offline_boards_are_told(tmp_path: Path) -> None:
    """A server that does not find the programs."""
    with running(tmp_path / "data", PATH="/nowhere") as one:
        admin = PublicClient(one.url)
        admin.token = one.credentials["mimaas_token"]
        status = admin.json("GET", f"/api/boards/{BOARD}/status", auth=False)
        assert (status["status"], status["available_count"]) == ("offline", 0)
        assert "apt-get install" in status["message"]
        sent = {"network": ("m.tflite", small_cnn(), "application/octet-stream")}
        answer = admin.call("POST", "/api/requests/", files=sent, data={"board": BOARD})
        assert answer.status_code == 503
        assert admin.json("GET", "/me")["available_runs"] == 10
