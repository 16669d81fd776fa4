"""Derives a blocking class from an async one: one event loop in a thread, one wrapper a method.

Coroutines become calls, async iterators become generators, async context managers become context
managers, and async objects among the answers become their blocking twins. Nothing is kept by hand.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from trainshed_client.api.group import Group

T = TypeVar("T")
_DERIVED: dict[type[Any], type[Blocking]] = {}
_END = object()


class Portal:
    """An event loop in a daemon thread of its own, made when first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and return what it returns; Ctrl-C here cancels it there."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._running())
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                name = "trainshed-client"
                threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()
            if self._loop.is_closed():
                raise RuntimeError("This client is closed.")
            return self._loop

    @property
    def closed(self) -> bool:
        """Whether the loop has ended."""
        return self._loop is not None and self._loop.is_closed()

    def close(self) -> None:
        """Stop the loop; later calls fail."""
        loop = self._running()
        self.call(loop.shutdown_asyncgens())
        self.call(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        while loop.is_running():
            threading.Event().wait(0.001)
        loop.close()


class Blocking:
    """Base of every derived class; ``_twin`` is the async object that does the work."""

    _twin: Any
    _portal: Portal


def derive(cls: type[Any], name: str | None = None) -> type[Blocking]:
    """Return the blocking twin of ``cls``, the same one every time."""
    if cls in _DERIVED:
        return _DERIVED[cls]
    members: dict[str, Any] = {
        attribute: wrapper
        for attribute, member in inspect.getmembers(cls)
        if not attribute.startswith("_") and (wrapper := _wrapper(member)) is not None
    }
    doc = (cls.__doc__ or "").replace("``AsyncClient``", "``Client``")
    members |= {"__doc__": doc, "__module__": cls.__module__}
    if hasattr(cls, "__aenter__"):
        members |= _lifetime(cls)
    made = type(name or f"Blocking{cls.__name__}", (Blocking,), members)
    _DERIVED[cls] = made
    return made


def _wrapper(member: Any) -> Callable[..., Any] | None:
    if not inspect.isfunction(member):
        return None
    kind = _kind(member)

    @functools.wraps(member)
    def wrapper(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        made = getattr(self._twin, member.__name__)(*args, **kwargs)
        if kind == "call":
            return adapt(self._portal.call(made), self._portal)
        if kind == "iterate":
            return _iterate(self._portal, made)
        return _context(self._portal, made) if kind == "context" else made

    vars(wrapper).pop("__wrapped__")
    vars(wrapper)["__signature__"] = blocking_signature(member)
    if inspect.iscoroutinefunction(wrapper):  # pragma: no cover - wraps copies no such mark
        raise TypeError(member.__name__)
    return wrapper


def _kind(member: Callable[..., Any]) -> str:
    """Say what a method gives: ``call``, ``iterate``, ``context`` or a ``plain`` value."""
    if inspect.iscoroutinefunction(member):
        return "call"
    inner = inspect.unwrap(member)
    if inner is not member and inspect.isasyncgenfunction(inner):
        return "context"  # the mark of asynccontextmanager
    promised = str(inspect.signature(member).return_annotation)
    iterates = inspect.isasyncgenfunction(member) or promised.startswith("AsyncIterator[")
    return "iterate" if iterates else "plain"


def blocking_signature(member: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of ``member`` with the answer a caller of the twin gets."""
    found = inspect.signature(member)
    answer = str(found.return_annotation)
    if _kind(member) == "context":
        inside = answer.removeprefix("AsyncIterator[").removesuffix("]")
        answer = f"AbstractContextManager[Blocking{inside}]"
    return found.replace(return_annotation=answer.replace("AsyncIterator[", "Iterator["))


def adapt(value: Any, portal: Portal) -> Any:
    """Return the blocking twin of an async object, and anything else as it is."""
    if not isinstance(value, Group):
        return value
    kind = derive(type(value))
    twin = kind.__new__(kind)
    twin._twin, twin._portal = value, portal
    for name, member in vars(value).items():
        if not name.startswith("_"):
            setattr(twin, name, adapt(member, portal))
    return twin


def _iterate(portal: Portal, source: AsyncIterator[Any]) -> Iterator[Any]:
    async def step() -> Any:
        return await anext(source, _END)

    async def close() -> None:
        finish = getattr(source, "aclose", None)
        if finish is not None:
            await finish()

    try:
        while (item := portal.call(step())) is not _END:
            yield adapt(item, portal)
    finally:
        if not portal.closed:  # closing the client has closed its iterators
            portal.call(close())


@contextmanager
def _context(portal: Portal, source: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    async def enter() -> Any:
        return await source.__aenter__()

    async def leave(*why: Any) -> bool | None:
        return await source.__aexit__(*why)

    value = portal.call(enter())
    try:
        yield adapt(value, portal)
    except BaseException as error:
        if not portal.call(leave(type(error), error, error.__traceback__)):
            raise
    else:
        portal.call(leave(None, None, None))


def _lifetime(cls: type[Any]) -> dict[str, Any]:
    """Return ``__init__``, ``close`` and the ``with`` methods for a class that owns its loop."""

    def __init__(self: Blocking, *args: Any, **kwargs: Any) -> None:
        portal = Portal()

        async def build() -> Any:
            return cls(*args, **kwargs)

        try:
            made = portal.call(build())
        except BaseException:
            portal.close()
            raise
        vars(self).update(vars(adapt(made, portal)))

    def close(self: Blocking) -> None:
        """Close every connection and end the client's thread."""
        self._portal.call(self._twin.aclose())
        self._portal.close()

    def __enter__(self: Blocking) -> Blocking:
        return self

    def __exit__(self: Blocking, *_: object) -> None:
        close(self)

    vars(__init__)["__signature__"] = inspect.signature(cls.__init__)
    return {
        "__init__": __init__,
        "close": close,
        "aclose": None,
        "__enter__": __enter__,
        "__exit__": __exit__,
    }
