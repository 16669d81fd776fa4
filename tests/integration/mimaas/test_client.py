"""The client on the wire: what it sends, what it makes of the answers, what it tries again."""

from __future__ import annotations

import builtins
import json
import re
import socket
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.integration.mimaas.stub import BOARD, MEMORY, MODEL, TOKEN, Answer, Stub, refusal

import mimaas
from mimaas import MIMaaSClient


def sent(*quantize: str) -> bytes:
    """The form as the contract's client sends it, with B for the boundary."""
    part = b"--B\r\nContent-Disposition: form-data; name="
    fields = [part + b'"board"\r\n\r\nnrf5340dk\r\n']
    fields += [part + b'"quantize"\r\n\r\n' + word.encode() + b"\r\n" for word in quantize]
    file = b'"network"; filename="model.tflite"\r\nContent-Type: application/octet-stream\r\n\r\n'
    return b"".join(fields) + part + file + MODEL + b"\r\n--B--\r\n"


def form(stub: Stub) -> bytes:
    """The last body, its boundary replaced by B."""
    kind = stub.seen[-1].headers["content-type"]
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", kind)
    assert boundary
    return stub.seen[-1].body.replace(boundary[1].encode(), b"B")


def last(stub: Stub) -> tuple[str, str, Any]:
    seen = stub.seen[-1]
    return seen.method, seen.path, json.loads(seen.body) if seen.body else None


def test_login_and_register_keep_the_token(stub: Stub, home: Path) -> None:
    with MIMaaSClient(stub.url) as client:
        assert client.login("johndoe", "secure_password", save=False) == TOKEN
        body = {"username": "johndoe", "password": "secure_password"}
        assert last(stub) == ("POST", "/login", body)
        assert "authorization" not in stub.seen[-1].headers
        assert not (home / ".mimaas").exists()
        client.register("johndoe", "john@example.com", "John", "Doe", "secure_password")
        assert last(stub)[2] == {
            "username": "johndoe", "email": "john@example.com", "first_name": "John",
            "surname": "Doe", "password": "secure_password", "plan": "free",
        }  # fmt: skip
        assert client.get_profile().available_runs == 9
        assert stub.seen[-1].headers["authorization"] == TOKEN
    kept = home / ".mimaas" / "token"
    assert kept.read_text() == TOKEN
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert MIMaaSClient(stub.url).config.api_token == TOKEN
    assert TOKEN not in repr(client) + repr(client.config)


def test_boards_and_plans_are_read_without_a_token(stub: Stub) -> None:
    with MIMaaSClient(f"{stub.url}/") as client:
        (board,) = client.list_boards()
        assert client.get_board("nrf5340dk") == board
        assert (board.flash_size_bytes, board.max_tensor_arena_kb) == (1024 * 1024, 448)
        assert client.get_board_status("nrf5340dk")["status"] == "available"
        assert [plan.price for plan in client.list_plans()] == [0.0, 49.5]
    assert [seen.path for seen in stub.seen] == [
        "/api/boards", "/api/boards/nrf5340dk", "/api/boards/nrf5340dk/status", "/api/plans",
    ]  # fmt: skip
    assert not any("authorization" in seen.headers for seen in stub.seen)


@pytest.mark.parametrize("quantize", [False, True])
def test_submit_sends_the_form_byte_for_byte(
    client: MIMaaSClient, stub: Stub, model: Path, quantize: bool
) -> None:
    request = client.submit_request(str(model), "nrf5340dk", quantize=quantize)
    assert (request.id, request.is_pending, request.folder_name) == (1, True, "request_1")
    assert last_path(stub) == "POST /api/requests/"
    assert form(stub) == sent(str(quantize).lower())


def test_a_calibration_set_is_sent_beside_the_model(
    client: MIMaaSClient, stub: Stub, model: Path, tmp_path: Path
) -> None:
    samples = tmp_path / "set.npz"
    samples.write_bytes(b"samples of inputs")
    client.submit_request(model, "nrf5340dk", quantize=True, calibration=samples)
    body = stub.seen[-1].body
    assert body.count(b"filename=") == 2
    assert b'name="calibration"; filename="set.npz"' in body
    assert b"samples of inputs" in body
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        client.submit_request(model, "nrf5340dk", quantize=True, calibration="absent.npz")
    assert len(stub.seen) == 1


def test_validate_sends_the_same_without_quantize(
    client: MIMaaSClient, stub: Stub, model: Path
) -> None:
    assert client.validate_model(model, "nrf5340dk")["valid"] is True
    assert last_path(stub) == "POST /api/validate"
    assert form(stub) == sent()


def last_path(stub: Stub) -> str:
    return f"{stub.seen[-1].method} {stub.seen[-1].path}"


def test_a_missing_model_is_told_without_a_request(client: MIMaaSClient, stub: Stub) -> None:
    for call in (client.submit_request, client.validate_model):
        with pytest.raises(FileNotFoundError, match=r"absent\.tflite"):
            call("absent.tflite", "nrf5340dk")
    assert not stub.seen


def test_lists_filter_and_delete_says_so(client: MIMaaSClient, stub: Stub) -> None:
    assert [request.id for request in client.list_requests()] == [1]
    assert last_path(stub) == "GET /api/requests/"
    client.list_requests(status="done", board="nrf5340dk")
    assert last_path(stub) == "GET /api/requests/?status=done&board=nrf5340dk"
    assert client.delete_request(1) is True
    assert last_path(stub) == "DELETE /api/requests/1"


@pytest.mark.parametrize(
    ("status", "message", "kind", "text"),
    [
        (400, "Unknown board", mimaas.ValidationError, "Unknown board"),
        (401, "Bad token", mimaas.AuthenticationError, "Bad token"),
        (403, "Not yours", mimaas.AuthenticationError, "Not yours"),
        (
            403, "You have NO available Runs", mimaas.QuotaExceededError,
            "No available runs remaining. Available: 0",
        ),
        (404, "Request not found", mimaas.ResourceNotFoundError, "Request not found"),
        (402, "Pay", mimaas.NetworkError, "HTTP 402: Pay"),
        (409, "Again", mimaas.NetworkError, "HTTP 409: Again"),
        (422, "Form", mimaas.NetworkError, "HTTP 422: Form"),
        (429, "Slow", mimaas.NetworkError, "HTTP 429: Slow"),
        (500, "Oh", mimaas.NetworkError, "Server error (500): Oh"),
        (503, "Down", mimaas.NetworkError, "Server error (503): Down"),
    ],
)  # fmt: skip
def test_statuses_are_exceptions(
    client: MIMaaSClient, stub: Stub, status: int, message: str, kind: type, text: str
) -> None:
    stub.instead = [refusal(status, message)] * 9
    with pytest.raises(mimaas.MIMaaSError) as caught:
        client.get_request(1)
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_a_body_that_is_no_json_is_the_message(client: MIMaaSClient, stub: Stub) -> None:
    stub.instead = [Answer(400, b"plain words"), Answer(404), Answer(400, b'{"message": 3}')]
    for kind, text in (
        (mimaas.ValidationError, "plain words"),
        (mimaas.ResourceNotFoundError, "HTTP 404"),
        (mimaas.ValidationError, '{"message": 3}'),
    ):
        with pytest.raises(kind) as caught:
            client.get_request(1)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"id": true, "status": "done", "board": "x"}', b""]
)
def test_an_answer_that_is_none_of_ours_is_a_network_error(
    client: MIMaaSClient, stub: Stub, body: bytes
) -> None:
    stub.instead = [Answer(200, body)]
    with pytest.raises(mimaas.NetworkError):
        client.get_request(1)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with MIMaaSClient(url) as client:
        client._transport.sleep = lambda seconds: None
        with pytest.raises(mimaas.NetworkError, match="Is the server up"):
            client.list_boards()


def test_a_silent_server_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            MIMaaSClient(url, timeout=0.3) as client,
            pytest.raises(mimaas.NetworkError, match="did not answer within"),
        ):
            client.list_boards()


def test_reading_is_tried_again_and_waits_as_asked(
    client: MIMaaSClient, stub: Stub, waits: list[float]
) -> None:
    stub.instead = [refusal(503, "restarting", **{"Retry-After": "2"}), Answer(200, b"", {}, 5)]
    assert client.get_request(1).id == 1
    assert len(stub.seen) == 3
    assert 2 <= waits[0] <= 3


def test_submitting_is_never_tried_again(client: MIMaaSClient, stub: Stub, model: Path) -> None:
    stub.instead = [refusal(503, "restarting")]
    with pytest.raises(mimaas.NetworkError, match="restarting"):
        client.submit_request(model, "nrf5340dk")
    stub.instead = [refusal(502, "gone")]
    with pytest.raises(mimaas.NetworkError):
        client.delete_request(1)
    assert len(stub.seen) == 2


def test_a_long_retry_after_is_not_waited_for(
    client: MIMaaSClient, stub: Stub, waits: list[float]
) -> None:
    stub.instead = [refusal(429, "slow", **{"Retry-After": "3600"})]
    with pytest.raises(mimaas.NetworkError):
        client.get_request(1)
    assert not waits


def test_a_redirect_does_not_carry_the_token_away(client: MIMaaSClient, stub: Stub) -> None:
    stub.instead = [Answer(302, headers={"Location": "http://127.0.0.1:9/other"})]
    with pytest.raises(mimaas.NetworkError, match=r"127\.0\.0\.1:9/other"):
        client.get_request(1)


def test_without_a_token_nothing_is_sent(stub: Stub, model: Path) -> None:
    with MIMaaSClient(stub.url) as client:
        with pytest.raises(mimaas.AuthenticationError, match="login"):
            client.submit_request(model, "nrf5340dk")
        client.config.api_token = "x\r\nEvil: 1"
        with pytest.raises(mimaas.AuthenticationError):
            client.get_profile()
    assert not stub.seen


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_never_leads_to_another_route(client: MIMaaSClient, stub: Stub, name: str) -> None:
    with pytest.raises(mimaas.MIMaaSError):
        client.get_board(name)
    assert not stub.seen
    with pytest.raises(mimaas.ResourceNotFoundError):
        client.get_board("../requests/1?x")
    assert stub.seen[-1].path == "/api/boards/..%2Frequests%2F1%3Fx"


def test_waiting_returns_the_results(client: MIMaaSClient, stub: Stub, waits: list[float]) -> None:
    stub.statuses = ["pending"] * 3 + ["processing"] * 3 + ["done"]
    assert client.wait_for_completion(1, poll_interval=1).ram_usage_bytes == 49357
    assert waits == [0.25, 0.5, 1, 1, 1]


def test_waiting_tells_why_there_are_none(client: MIMaaSClient, stub: Stub) -> None:
    stub.statuses, stub.error = ["error"], "CONV_2D version 9 is not supported"
    with pytest.raises(mimaas.ProcessingError, match="CONV_2D version 9") as caught:
        client.wait_for_completion(1)
    assert caught.value.message == stub.error
    stub.statuses = ["done"]
    stub.result = {"ram_usage": 1}
    with pytest.raises(mimaas.ProcessingError, match="no results available"):
        client.wait_for_completion(1)


def test_waiting_ends(stub: Stub) -> None:
    stub.statuses = ["processing"]
    with (
        MIMaaSClient(stub.url, TOKEN) as client,
        pytest.raises(mimaas.TimeoutError, match="status: processing") as caught,
    ):
        client.wait_for_completion(1, timeout=0.2, poll_interval=0.05)
    assert isinstance(caught.value, builtins.TimeoutError)
    assert stub.polls > 2


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("download_ram_report", "ram_report"), ("download_rom_report", "rom_report"),
        ("download_power_summary", "power_summary"), ("download_power_samples", "power_samples"),
        ("download_model", "model"), ("download_layers", "layers"),
        ("download_all_artifacts", "all"),
    ],
)  # fmt: skip
def test_downloads(
    client: MIMaaSClient, stub: Stub, tmp_path: Path, method: str, kind: str
) -> None:
    place = tmp_path / "new" / "folder" / "file"
    getattr(client, method)(1, str(place))
    assert last_path(stub) == f"GET /api/requests/1/artifacts/{kind}"
    if kind == "all":
        assert zipfile.ZipFile(place).namelist() == ["ppk2_samples.csv"]
    assert {"ram_report": lambda: json.loads(place.read_bytes()) == MEMORY}.get(
        kind, lambda: place.stat().st_size > 0
    )()


def test_the_report_tells_sources_and_bands(client: MIMaaSClient) -> None:
    found = client.get_report(1)["figures"]["duration_avg_s"]
    assert (found["source"], found["band"]) == ("estimated", 0.15)


def test_a_download_cut_short_is_tried_again_and_then_told(
    client: MIMaaSClient, stub: Stub, tmp_path: Path
) -> None:
    place = tmp_path / "model.tflite"
    place.write_bytes(b"what was there")
    cut = Answer(200, MODEL[:20], {}, len(MODEL))
    stub.instead = [cut] * 5
    with pytest.raises(mimaas.NetworkError, match="broke"):
        client.download_model(1, place)
    assert place.read_bytes() == b"what was there"
    stub.instead = [cut]
    client.download_model(1, place)
    assert place.read_bytes() == MODEL
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.tflite"]


def test_a_refused_download_leaves_nothing(
    client: MIMaaSClient, stub: Stub, tmp_path: Path
) -> None:
    with pytest.raises(mimaas.ResourceNotFoundError):
        client.download(1, "secrets", tmp_path / "new" / "file")
    assert not (tmp_path / "new").exists()


def test_the_servers_folder(client: MIMaaSClient, stub: Stub, tmp_path: Path) -> None:
    client.download_model(1, tmp_path / "m.tflite", use_server_folder=True)
    assert (tmp_path / "downloads" / "request_1" / "m.tflite").read_bytes() == MODEL
    stub.folder = None
    client.download_model(1, tmp_path / "m.tflite", use_server_folder=True)
    assert (tmp_path / "m.tflite").read_bytes() == MODEL


@pytest.mark.parametrize(
    "folder",
    ["..", ".", "../up", "/etc", "a/b", "a\\b", "C:x", "a\0b", "line\nbreak", "n" * 256],
)
def test_an_unsafe_folder_of_the_server_is_refused(
    client: MIMaaSClient, stub: Stub, tmp_path: Path, folder: str
) -> None:
    stub.folder = folder
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(mimaas.MIMaaSError, match="unsafe folder"):
        client.download_model(1, tmp_path / "m.tflite", use_server_folder=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_newer_servers_may_say_more(client: MIMaaSClient, stub: Stub) -> None:
    stub.instead = [Answer(200, json.dumps({**BOARD, "core": "cortex-m33"}).encode())]
    assert client.get_board("nrf5340dk").raw["core"] == "cortex-m33"
