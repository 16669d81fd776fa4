from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.server import Api, Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not stop it."""
    with (
        tempfile.TemporaryDirectory(prefix="trainshed-") as folder,
        running(Path(folder) / "data") as one,
    ):
        yield one


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server)
