"""Our ``mimaas`` SDK against a real server: from an account to figures of an emulated board."""

from __future__ import annotations

import csv
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.documents import ROOT, SEED, python_blocks, run_blocks
from tests.support.server import Server
from tests.unit.board.test_quantize import SAMPLES, archive, dense

import mimaas
from mimaas import MIMaaSClient
from mimaas.auth import validate_token_format
from trainshed.bootstrap.boards import LocalBoards
from trainshed.bootstrap.demo.digits_network import train

MISSING = LocalBoards().missing()
PASSWORD = "a long enough passphrase"
BOARD = "nrf5340dk"
PRINTED = re.compile(
    r"Results:\n  Inference Time: \d+\.\d\d ms\n  Energy: \d+\.\d\d µJ\n  Power: \d+\.\d\d µW\n"
    r"  RAM: \d+\.\d KB\n  Flash: \d+\.\d KB\n"
)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def network() -> bytes:
    from sklearn.datasets import load_digits

    found = load_digits()
    return train((found.images / 16).astype(np.float32), found.target).model


@pytest.fixture
def model(tmp_path: Path, network: bytes) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(network)
    return path


def account(server: Server, folder: Path, name: str) -> MIMaaSClient:
    client = MIMaaSClient(server.url, token_file=folder / f"{name}.token")
    client.register(name, f"{name}@example.com", "Ada", "L", PASSWORD)
    return client


@pytest.mark.parametrize(
    "document",
    [
        ROOT / "docs" / "mimaas-sdk.md",
        pytest.param(
            SEED,
            marks=pytest.mark.skipif(
                not SEED.is_file(),
                reason="the document it was made from is not beside the checkout",
            ),
        ),
    ],
    ids=["docs", "seed"],
)
def test_the_documents_code_as_it_stands(
    server: Server, model: Path, network: bytes, tmp_path: Path, document: Path
) -> None:
    number = 1 if document == SEED else 2
    account(server, tmp_path, f"reader{number}").close()
    # Only the names are ours: every run on this server needs its own.
    blocks = [
        block.replace("your_username", f"reader{number}")
        .replace("your_password", PASSWORD)
        .replace("johndoe", f"johndoe{number}")
        for block in python_blocks(document)
    ]
    (tmp_path / "float.tflite").write_bytes(dense())
    (tmp_path / "set.npz").write_bytes(archive(values=SAMPLES))
    printed = run_blocks(blocks, tmp_path, MIMAAS_API_URL=server.url)
    assert PRINTED.match(printed), printed
    assert "Runs remaining: 10\n" in printed
    assert "Board Type: nrf5340dk\n" in printed
    assert (tmp_path / "model.tflite").read_bytes() == network
    with zipfile.ZipFile(tmp_path / "artifacts.zip") as files:
        names = {Path(name).name for name in files.namelist()}
    assert {"ram.json", "rom.json", "ppk2_summary.csv", "ppk2_samples.csv", "model.tflite"} <= names
    for _ in range(100):
        if (tmp_path / "shown.html").exists():
            break
        time.sleep(0.1)
    assert "not measured" in (tmp_path / "shown.html").read_text()


def test_figures_agree_with_what_is_downloaded(server: Server, model: Path, tmp_path: Path) -> None:
    with account(server, tmp_path, "agree") as client:
        assert validate_token_format(str(client.config.api_token))
        before = client.get_profile().available_runs
        assert client.validate_model(model, BOARD) | {"warnings": []} == client.validate_model(
            model, BOARD
        ) | {"warnings": []}
        assert client.get_profile().available_runs == before
        request = client.submit_request(model, BOARD)
        results = client.wait_for_completion(request.id, timeout=100)
        assert client.get_profile().available_runs == before - 1
        assert client.get_request(request.id).results == results
        voltage = client.get_board(BOARD).voltage_mv / 1000
        client.download_power_samples(request.id, tmp_path / "s.csv")
        client.download_ram_report(request.id, tmp_path / "ram.json")
        client.download_rom_report(request.id, tmp_path / "rom.json")
        client.download_layers(request.id, tmp_path / "layers.json", use_server_folder=True)
        report = client.get_report(request.id)
        folder = request.folder_name or ""
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    current = sum(float(row["current_uA"]) for row in rows) / len(rows)
    assert current * voltage == pytest.approx(results.avg_power_uW, rel=0.01)
    last = max(float(row["time_ms"]) for row in rows)
    assert last == pytest.approx(results.inference_time_ms, rel=0.01)
    assert {row["source"] for row in rows} <= {"emulated", "estimated"}
    assert results.avg_energy_uJ == pytest.approx(
        results.avg_power_uW * results.duration_avg_s, rel=1e-6
    )
    totals = [
        json.loads((tmp_path / f"{n}.json").read_text())["total_size"] for n in ("ram", "rom")
    ]
    assert totals == [results.ram_usage_bytes, results.rom_usage_bytes]
    layers = json.loads((tmp_path / "downloads" / folder / "layers.json").read_text())
    timed = sum(row["time_s"] for row in layers["layers"]) + layers["overhead"]["time_s"]
    assert timed == pytest.approx(results.duration_avg_s)
    assert report["figures"]["duration_avg_s"]["source"] != "measured"


def test_refusals_are_the_documented_exceptions(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with account(server, tmp_path, "refused") as client:
        with pytest.raises(mimaas.ValidationError):
            client.register("refused", "r@example.com", "R", "R", PASSWORD)
        with pytest.raises(mimaas.ValidationError):
            client.register("refused2", "r@example.com", "R", "R", PASSWORD, plan="no such plan")
        with pytest.raises(mimaas.ValidationError, match="no_such_board"):
            client.submit_request(model, "no_such_board")
        (tmp_path / "wrong.tflite").write_bytes(b"not a model at all, but long enough")
        with pytest.raises(mimaas.ValidationError):
            client.submit_request(tmp_path / "wrong.tflite", BOARD)
        for call in (client.get_request, client.delete_request):
            with pytest.raises(mimaas.ResourceNotFoundError):
                call(999_999)
        with pytest.raises(mimaas.ResourceNotFoundError):
            client.get_board("no_such_board")
        assert client.get_profile().available_runs == 10
    with MIMaaSClient(server.url, token_file=tmp_path / "none") as nobody:
        with pytest.raises(mimaas.AuthenticationError):
            nobody.login("refused", "wrong password")
        nobody.config.api_token = "ab" * 32
        with pytest.raises(mimaas.AuthenticationError):
            nobody.get_profile()


def test_runs_end_and_requests_are_the_accounts_own(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with account(server, tmp_path, "spender") as spender, account(server, tmp_path, "peer") as peer:
        made = [spender.submit_request(model, BOARD) for _ in range(10)]
        with pytest.raises(mimaas.QuotaExceededError):
            spender.submit_request(model, BOARD)
        with pytest.raises(mimaas.ResourceNotFoundError):
            peer.get_request(made[0].id)
        with pytest.raises(mimaas.ResourceNotFoundError):
            peer.download_model(made[0].id, tmp_path / "stolen")
        assert peer.list_requests() == []
        assert {request.id for request in spender.list_requests()} == {r.id for r in made}
        for request in made[1:]:
            spender.delete_request(request.id)
        assert spender.wait_for_completion(made[0].id, timeout=100).ram_usage_bytes > 0
        assert [r.id for r in spender.list_requests(status="done", board=BOARD)] == [made[0].id]
