"""Requests of the MIMaaS door over HTTP; no runner."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.deps import World
from tests.support.mimaas import (
    FILES,
    MODEL,
    RESULT,
    Client,
    job_of,
    person_of,
    placed,
    run_ends,
    runs,
)

from trainshed.dialects.mimaas import translate
from trainshed.domain.states import JobState


def test_validate_costs_nothing(client: Client) -> None:
    assert client.send("/api/validate", 200, quantize=None) == {
        "valid": True, "errors": [], "warnings": [],
        "estimate": {"arena_bytes": 1024, "flash_bytes": 2048, "macs": 4096, "n_operators": 3},
    }  # fmt: skip
    bad = client.send("/api/validate", 200, model=b"GIF89a")
    assert (bad["valid"], bad["errors"]) == (False, ["No TensorFlow Lite file."])
    assert client.send("/api/validate", 200, quantize="true")["warnings"]
    assert "There is no board" in client.send("/api/validate", 400, board="x")["message"]
    largest = MODEL.ljust(8 * 2**20, b"\0")
    assert client.send("/api/validate", 200, model=largest)["valid"]
    assert "8388608" in client.send("/api/validate", 400, model=largest + b"\0")["message"]
    assert runs(client) == 3


def test_a_request(w: World, client: Client) -> None:
    made = client.send(name="keyword spotter.tflite")
    assert type(made["id"]) is int
    assert (made["status"], made["board"], made["quantize"]) == ("pending", "nrf5340dk", False)
    assert made["network"] == "keyword spotter.tflite"
    assert (made["result"], made["error_message"]) == (None, None)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made["folder_name"])
    assert runs(client) == 2
    one = f"/api/requests/{made['id']}"
    assert client("GET", one) == made
    for kind in ("ram_report", "all", "nonsense"):
        assert client("GET", f"{one}/artifacts/{kind}", 404)["message"]
    job_id = job_of(w, client, made["id"])
    person = person_of(w, client)
    run_ends(w, person, job_id)
    done = client("GET", one)
    assert (done["status"], done["error_message"]) == ("done", None)
    assert done["result"] == RESULT
    assert runs(client) == 2
    kinds = {k: name for k, name in translate.ARTIFACTS.items() if name in FILES}
    for kind, name in kinds.items():
        answer = client.raw("GET", f"{one}/artifacts/{kind}")
        assert (answer.status_code, answer.content) == (200, FILES[name or ""])
        assert "attachment" in answer.headers["content-disposition"]
    packed = zipfile.ZipFile(io.BytesIO(client.raw("GET", f"{one}/artifacts/all").content))
    assert set(packed.namelist()) == {*FILES, "outcome.json"}
    assert packed.read("model.tflite") == MODEL
    assert client("GET", f"{one}/artifacts/nonsense", 404)["message"]
    receipt = w.client.get(f"/v1/jobs/{job_id}/receipt", headers=person.headers).json()
    assert (receipt["unit"], receipt["captured_ucredits"]) == ("board_run", 1_000_000)


def test_the_list_is_bare_and_filtered(w: World, client: Client) -> None:
    assert client("GET", "/api/requests/") == []
    first = client.send()
    second = client.send(board="rpi_pico", quantize="true")
    assert second["quantize"] is True
    assert second["id"] > first["id"]
    for path in ("/api/requests/", "/api/requests"):
        assert client("GET", path) == [second, first]
    run_ends(w, person_of(w, client), job_of(w, client, first["id"]))

    def ids(**query: str) -> list[int]:
        return [r["id"] for r in client("GET", "/api/requests/", params=query)]

    assert ids(status="done") == [first["id"]]
    assert ids(status="pending") == [second["id"]]
    assert ids(board="rpi_pico") == [second["id"]]
    assert ids(status="done", board="rpi_pico") == []
    assert client.send("/api/requests")["id"] > second["id"]


MODEL_FAULT = {"fault": "model", "code": "unsupported", "message": "No WHILE on boards."}
PLATFORM = {"fault": "platform", "code": "mismatch", "message": "CONV_2D differs.", "result": None}


@pytest.mark.parametrize(
    ("how", "left", "message"),
    [
        ({"exit_code": 10, "outcome": MODEL_FAULT}, 2, "No WHILE on boards."),
        ({"exit_code": 20, "outcome": PLATFORM}, 3, "CONV_2D differs."),
        ({"exit_code": 1, "outcome": {"message": ""}}, 3, "The run failed: exit_code."),
        ({"cause": "timeout", "outcome": {"message": ""}}, 3, "The run failed: time_limit."),
        ({"cause": "memory", "outcome": {"message": ""}}, 3, "The run failed: out_of_memory."),
    ],
    ids=["model", "platform", "died", "late", "memory"],
)
def test_who_is_at_fault_pays(
    w: World, john: Client, how: dict[str, Any], left: int, message: str
) -> None:
    made = john.send()
    assert runs(john) == 2
    run_ends(w, person_of(w, john), job_of(w, john, made["id"]), **how)
    ended = john("GET", f"/api/requests/{made['id']}")
    assert (ended["status"], ended["error_message"]) == ("error", message)
    assert ended["result"] is None
    assert runs(john) == left
    assert john("GET", f"/api/requests/{made['id']}/artifacts/all", 404)


@pytest.mark.parametrize(
    "result",
    [{"ram_usage": 1}, {**RESULT, "rom_usage": "many"}, None],
    ids=["part", "text", "none"],
)
def test_figures_that_are_not_whole_are_no_success(w: World, john: Client, result: Any) -> None:
    made = john.send()
    job_id = job_of(w, john, made["id"])
    run_ends(w, person_of(w, john), job_id, outcome={"result": result})
    ended = john("GET", f"/api/requests/{made['id']}")
    assert (ended["status"], ended["result"]) == ("error", None)
    assert ended["error_message"]


def test_deleting(w: World, john: Client) -> None:
    person = person_of(w, john)
    waiting, running, over = (john.send()["id"] for _ in range(3))
    assert runs(john) == 0
    john("DELETE", f"/api/requests/{waiting}", 204)
    assert runs(john) == 1, "it had not begun"
    placed(w, person, job_of(w, john, running))
    john("DELETE", f"/api/requests/{running}", 204)
    run_ends(w, person, job_of(w, john, over))
    kept = w.deps.store.read(lambda tx: tx.files.used_bytes(person.principal.account_id))
    john("DELETE", f"/api/requests/{over}", 204)
    now = w.deps.store.read(lambda tx: tx.files.used_bytes(person.principal.account_id))
    assert now < kept
    for number in (waiting, running, over):
        for method in ("GET", "DELETE"):
            assert john(method, f"/api/requests/{number}", 404)["message"]
    assert john("GET", "/api/requests/") == []
    assert runs(john) == 1, "what had begun is not given back"
    state = w.deps.store.read(lambda tx: tx.jobs.get(job_of(w, john, running)).state)
    assert state is JobState.CANCELLING


def test_another_accounts_requests_are_absent(w: World, john: Client) -> None:
    made = john.send()
    run_ends(w, person_of(w, john), job_of(w, john, made["id"]))
    jane = Client(w)
    jane.register("jane")
    one, nothing = f"/api/requests/{made['id']}", "/api/requests/999999"
    for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/artifacts/model")):
        absent = jane(method, nothing + rest, 404)
        assert jane(method, one + rest, 404) == absent
    for bad in ("-1", "0", "1e3", "x", "9" * 40, "٣"):
        assert jane("GET", f"/api/requests/{bad}", 404)["message"]
    assert jane("GET", "/api/requests/") == []
    assert john("GET", one)["status"] == "done"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd.tflite"),
        ("..", "model.tflite"),
        ("C:\\models\\kws.tflite", "kws.tflite"),
        ("a\x1b[31m.tflite", "a[31m.tflite"),
        ("x" * 400 + ".tflite", "x" * 100 + ".tflite"),
        ("ünïcode.tflite", "ünïcode.tflite"),
    ],
)
def test_hostile_file_names(john: Client, name: str, shown: str) -> None:
    assert john.send(name=name)["network"] == shown


def test_bad_forms_are_400(w: World, john: Client) -> None:
    head = {"Authorization": john.token}

    def post(**more: Any) -> str:
        answer = w.client.post("/api/requests/", **more, headers=head | more.pop("headers", {}))
        assert answer.status_code == 400, answer.text
        return str(answer.json()["message"])

    file = {"network": ("m.tflite", MODEL)}
    assert "board" in post(files=file)
    assert "network" in post(files={"other": ("m", MODEL)}, data={"board": "rpi_pico"})
    assert post(json={"board": "rpi_pico"})
    assert post(data={"board": "rpi_pico", "network": "text"})
    assert "quantize" in post(files=file, data={"board": "rpi_pico", "quantize": "maybe"})
    twice = [("network", ("a", MODEL)), ("network", ("b", MODEL))]
    assert post(files=twice, data={"board": "rpi_pico"})
    assert post(files=file, data={"board": "x" * 5000})
    assert post(files=file, data={f"f{n}": "1" for n in range(50)})
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "text/plain"):
        answer = w.client.post(
            "/api/requests/", content=b"--x\r\n", headers={**head, "Content-Type": kind}
        )
        assert answer.status_code == 400, answer.text
    big = {"network": ("m.tflite", b"TFL3" * (2 * 1024**2 + 1))}
    assert post(files=big, data={"board": "rpi_pico"})
    for body in (b"{", b"[]", b'{"username": 1}'):
        answer = w.client.post("/login", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
    assert runs(john) == 3


def test_an_invalid_model_is_400_and_leaves_nothing(w: World, john: Client) -> None:
    refused = john.send(status=400, model=b"GIF89a")
    assert refused["message"] == "No TensorFlow Lite file."
    assert refused["errors"][0]["code"] == "invalid_model"
    account = person_of(w, john).principal.account_id
    assert w.deps.store.read(lambda tx: tx.files.used_bytes(account)) == 0
    assert runs(john) == 3


def npz(**arrays: object) -> bytes:
    """A calibration set, as numpy writes it."""
    out = io.BytesIO()
    np.savez(out, **{name: np.asarray(value) for name, value in arrays.items()})
    return out.getvalue()


def packed(name: str = "x.npy", data: bytes = b"no array", size: int | None = None) -> bytes:
    """An archive with one entry, which may lie about its size."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    found = out.getvalue()
    if size is not None:
        at = found.index(b"PK\x01\x02") + 24
        found = found[:at] + size.to_bytes(4, "little") + found[at + 4 :]
    return found


SAMPLES = npz(image=[[0.5, 1.5]])


def test_a_calibration_set_goes_to_the_job(w: World, client: Client) -> None:
    made = client.send(quantize="true", calibration=SAMPLES)
    job_id, account = job_of(w, client, made["id"]), person_of(w, client).principal.account_id
    job = w.deps.store.read(lambda tx: tx.jobs.get(job_id, account))
    assert job.spec.params["calibration"] == "calibration.npz"
    assert {one.path for one in job.spec.inputs} == {"model.tflite", "calibration.npz"}
    (sent,) = [one.ref for one in job.spec.inputs if one.path == "calibration.npz"]
    ref = w.deps.store.read(lambda tx: tx.files.get_upload(sent, account)).blob
    assert ref is not None
    assert w.deps.blobs.read(job.account_id, ref.md5) == SAMPLES
    assert runs(client) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no .npz file"),
        (b"PK\x03\x04 and nothing", "is no .npz file"),
        (packed(), "is no .npz file"),
        (packed(name="x.txt", data=SAMPLES[:200]), "is no .npz file"),
        (packed(size=2**31), "unpacks to 2147483648 bytes"),
        (npz(x=np.array([{}], dtype=object)), "holds objects"),
        (npz(**{f"x{i}": [1.0] for i in range(65)}), "has 65 arrays"),
    ],
)
def test_a_bad_calibration_set_costs_nothing(
    w: World, john: Client, data: bytes, words: str
) -> None:
    account = person_of(w, john).principal.account_id
    answer = john.send(status=400, quantize="true", calibration=data)
    assert words in answer["message"]
    assert "numpy.savez" in answer["message"]
    assert (runs(john), john("GET", "/api/requests/")) == (3, [])
    assert w.deps.store.read(lambda tx: tx.files.uploads(account, None, 10)) == []


def test_a_calibration_set_without_quantize_is_a_mistake(john: Client) -> None:
    answer = john.send(status=400, calibration=SAMPLES)
    assert "with quantize only" in answer["message"]
    assert runs(john) == 3


def test_no_other_file_is_taken(john: Client) -> None:
    files = {"network": ("a.tflite", MODEL), "more": ("b.bin", b"x")}
    answer = john("POST", "/api/requests/", 400, files=files, data={"board": "nrf5340dk"})
    assert "'network' and 'calibration'" in answer["message"]
    assert runs(john) == 3


def test_what_was_measured_here_goes_with_a_request(w: World, john: Client, tmp_path: Path) -> None:
    from trainshed.bootstrap.boards import LocalBoards
    from trainshed.workloads.board.facts import calibration

    found = calibration.Calibration("nrf5340dk", 1.25, "ab" * 32, "2026-03-01", "1", 0.07)
    folder = tmp_path / "measured"
    path = calibration.write(folder, found)
    wing = LocalBoards(folder)
    object.__setattr__(w.deps, "boards", wing)
    wing.missing = lambda: ""  # type: ignore[method-assign]
    account = person_of(w, john).principal.account_id

    def params() -> dict[str, Any]:
        job_id = job_of(w, john, john.send()["id"])
        return dict(w.deps.store.read(lambda tx: tx.jobs.get(job_id, account)).spec.params)

    assert params()["measured"] == found.to_dict()
    board = wing.facts()["nrf5340dk"]
    assert (board.timing.factor, board.timing.measured_on) == (1.25, "2026-03-01")
    assert "2026-03-01" in board.notes[-1]
    path.write_text("{")  # it is told in the log, and the shipped factor is used
    assert params()["measured"] is None
    assert wing.facts()["nrf5340dk"].timing.measured_on == ""
