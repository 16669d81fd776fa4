from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.mimaas.stub import MODEL, TOKEN, Stub, serving

from mimaas import MIMaaSClient


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the configuration of whoever runs it."""
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    for name in ("MIMAAS_API_URL", "MIMAAS_API_TOKEN", "MIMAAS_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as made:
        yield made


@pytest.fixture
def waits() -> list[float]:
    """The pauses that the client would have made."""
    return []


@pytest.fixture
def client(stub: Stub, waits: list[float]) -> Iterator[MIMaaSClient]:
    with MIMaaSClient(stub.url, TOKEN, timeout=10) as made:
        made._transport.sleep = waits.append
        yield made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(MODEL)
    return path
