"""The blocking client is the async one: every method, every signature, nothing kept by hand."""

from __future__ import annotations

import importlib.util
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

import trainshed_client
from trainshed_client import AsyncClient, Client
from trainshed_client.api.group import Group
from trainshed_client.errors import ConfigProblem, NotFound
from trainshed_client.portal import Portal, adapt, derive

SDK = Path(trainshed_client.__file__).parents[2]


def stub_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_stub", SDK / "make_stub.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pairs() -> list[tuple[str, Any, Any]]:
    """Return (where, async method, blocking method or None) for every public method."""
    client = AsyncClient("http://shed", "k")
    owners: list[tuple[str, type, type]] = [("", AsyncClient, Client)]
    owners += [
        (name, type(group), derive(type(group)))
        for name, group in vars(client).items()
        if isinstance(group, Group)
    ]
    return [
        (f"{noun}.{name}".strip("."), method, getattr(twin, name, None))
        for noun, cls, twin in owners
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name != "aclose"
    ]


@pytest.mark.parametrize(
    ("where", "method", "twin"), pairs(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_method_has_its_twin(where: str, method: Any, twin: Any) -> None:
    assert twin is not None, where
    theirs, ours = inspect.signature(method), inspect.signature(twin)
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert "Async" not in str(ours.return_annotation)
    assert twin.__doc__ == method.__doc__
    assert method.__doc__, f"{where} has no docstring"
    assert not inspect.iscoroutinefunction(twin)


def test_all_nouns_are_there() -> None:
    with Client("http://shed", "k") as client:
        nouns = {"jobs", "uploads", "downloads", "keys", "users", "accounts", "credits", "offers"}
        assert nouns | {"events"} <= {n for n in vars(client) if not n.startswith("_")}
        assert client.url == "http://shed"


def test_the_stub_is_up_to_date() -> None:
    made = stub_module()
    assert made.TARGET.read_text() == made.stub(), "run sdk/python/client/make_stub.py"


def test_help_shows_the_signature() -> None:
    import pydoc

    text = pydoc.plain(pydoc.render_doc(derive(type(AsyncClient("http://shed", "k").jobs))))
    assert "wait(self, job_id: 'str', timeout_s: 'float | None' = None" in text
    assert "Iterator[Job]" in text
    assert "AsyncIterator" not in text


class Inner(Group):
    """Something open."""

    def __init__(self) -> None:
        self.word = "inner"

    async def read(self) -> str:
        """Read."""
        return threading.current_thread().name


class Outer(Group):
    """For the derivation alone."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    async def count(self, n: int) -> AsyncIterator[int]:
        """Count."""
        try:
            for i in range(n):
                yield i
        finally:
            self.closed.append("count")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Inner]:
        """Open."""
        try:
            yield Inner()
        finally:
            self.closed.append("open")

    async def fail(self) -> None:
        """Fail."""
        raise NotFound("no")

    def plain(self) -> int:
        """Plain."""
        return 7


@pytest.fixture
def outer() -> Iterator[Any]:
    portal = Portal()
    yield adapt(Outer(), portal)
    portal.close()


def test_iterators_and_contexts(outer: Any) -> None:
    assert list(outer.count(3)) == [0, 1, 2]
    for i in outer.count(9):
        if i == 2:
            break
    with outer.open() as inner:
        assert inner.word == "inner"
        assert inner.read() == "trainshed-client"
        assert outer.closed == ["count", "count"]
    assert outer.closed == ["count", "count", "open"]
    assert outer.plain() == 7


def test_an_iterator_may_outlive_its_client() -> None:
    portal = Portal()
    outer = adapt(Outer(), portal)
    numbers = outer.count(9)
    assert next(numbers) == 0
    portal.close()
    assert outer._twin.closed == ["count"]
    numbers.close()


def test_errors_come_through(outer: Any) -> None:
    with pytest.raises(NotFound, match="no"):
        outer.fail()
    with pytest.raises(ZeroDivisionError), outer.open():
        _ = 1 / 0
    assert outer.closed == ["open"]


def test_close_ends_the_thread_and_leaves_none() -> None:
    before = threading.active_count()
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"status": "ok"}))
    with Client("http://shed", http=answer) as client:
        assert client.health().status == "ok"
    with pytest.raises(RuntimeError, match="closed"):
        client.health()
    with pytest.raises(ConfigProblem):
        Client("ftp://shed")
    assert threading.active_count() <= before


async def test_the_blocking_client_works_inside_a_running_loop() -> None:
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"status": "ok"}))
    with Client("http://shed", http=answer) as client:
        assert client.health().status == "ok"


def test_public_names_load() -> None:
    for name in trainshed_client.__all__:
        assert getattr(trainshed_client, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = trainshed_client.Nothing
