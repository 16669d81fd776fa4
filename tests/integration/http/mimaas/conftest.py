"""The MIMaaS door on a fresh server, and a user of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.deps import World
from tests.support.mimaas import Client, mimaas_world


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with mimaas_world(tmp_path) as one:
        yield one
        assert one.deps.store.verify() == []


@pytest.fixture(params=["", "/mimaas"])
def client(w: World, request: pytest.FixtureRequest) -> Client:
    one = Client(w, root=request.param)
    one.register()
    return one


@pytest.fixture
def john(w: World) -> Client:
    one = Client(w)
    one.register()
    return one
