from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.sdk.stub import KEY, Stub, serving


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the configuration of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/config")
    for name in ("TRAINSHED_URL", "TRAINSHED_API_KEY", "TRAINSHED_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as one:
        yield one


@pytest.fixture
def logged_in(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.setenv("TRAINSHED_URL", stub.url)
    monkeypatch.setenv("TRAINSHED_API_KEY", KEY)
    return stub
