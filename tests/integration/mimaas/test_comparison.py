"""``compare``: a cell for each pair, and failures that stay in their cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.mimaas.stub import TOKEN, Stub, refusal

from mimaas import MIMaaSClient, compare

PRINTED = """\
Model   Board       Time (ms)  Energy (µJ)  Power (µW)  RAM (KB)  Flash (KB)     Source
------  ---------  ----------  -----------  ----------  --------  ----------  ---------
model   nrf5340dk  12.34 ±15%   45.67 ±16%     3702.10     48.20      112.50  estimated
model   tiny       error: RAM: 2 bytes needed, 1 there
absent  nrf5340dk  error: Model file not found: absent.tflite
absent  tiny       error: Model file not found: absent.tflite"""


def test_all_pairs(
    stub: Stub, client: MIMaaSClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = client.submit_request

    def submit(path: Path, board: str, quantize: bool = False) -> object:
        if board == "tiny" and path.exists():
            stub.instead = [refusal(400, "RAM: 2 bytes needed,\n1 there")]
        return plain(path, board, quantize)

    monkeypatch.setattr(client, "submit_request", submit)
    found = compare([model, "absent.tflite"], iter(["nrf5340dk", "tiny"]), client=client)
    assert str(found) == PRINTED
    frame = found.to_dataframe()
    assert frame["Time (ms)"].tolist()[0] == pytest.approx(12.34)
    assert frame["± Energy (µJ)"].tolist()[0] == pytest.approx(0.16)
    assert frame["Error"].notna().tolist() == [False, True, True, True]


def test_a_request_that_fails_and_one_that_takes_too_long(
    stub: Stub, client: MIMaaSClient, model: Path
) -> None:
    stub.statuses, stub.error = ["error"], "differs from the reference in layer 3"
    (cell,) = compare([model], ["nrf5340dk"], client=client).cells
    assert cell.request_id == 1
    assert "layer 3" in str(cell.error)
    stub.statuses = ["processing"]
    (cell,) = compare([model], ["nrf5340dk"], client=client, timeout=0).cells
    assert "did not complete" in str(cell.error)


def test_a_server_without_reports(stub: Stub, client: MIMaaSClient, model: Path) -> None:
    stub.report = None
    stub.statuses = ["done"]
    found = compare([model], ["nrf5340dk"], client=client)
    assert "12.34  " in str(found)
    assert "not stated" in str(found)


def test_its_own_client(stub: Stub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMAAS_API_URL", stub.url)
    monkeypatch.setenv("MIMAAS_API_TOKEN", TOKEN)
    (cell,) = compare([model], ["nrf5340dk"], poll_interval=0.01).cells
    assert cell.error is None
