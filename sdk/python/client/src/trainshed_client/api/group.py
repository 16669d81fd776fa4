"""What every noun group shares: the transport, and lists that fetch their next page themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar
from urllib.parse import quote

from trainshed_client.decode import decode
from trainshed_client.errors import BadAnswer
from trainshed_client.transport import Params, Transport

T = TypeVar("T")
_PAGE = 200


class Group:
    """Base of everything the blocking ``Client`` is derived from."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


def part(value: str) -> str:
    """Return ``value`` fit to be one segment of a path: an id can never name another route."""
    return quote(value, safe="")


def items(cls: type[T], answer: Any) -> tuple[T, ...]:
    """Return the ``items`` of ``answer`` as ``cls``."""
    found = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise BadAnswer("The server sent no list where one was expected.")
    return tuple(decode(cls, item) for item in found)


async def pages(
    transport: Transport,
    cls: type[T],
    path: str,
    params: Params | None = None,
    limit: int | None = None,
    *,
    sized: bool = True,
) -> AsyncIterator[T]:
    """Yield at most ``limit`` items, or all, a page at a time as they are wanted.

    ``sized`` off leaves the size of a page to the server: its short lists come whole.
    """
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = (_PAGE if left is None else min(left, _PAGE)) if sized else None
        query = {**(params or {}), "limit": size, "cursor": cursor}
        answer = await transport.call("GET", path, params=query)
        for item in items(cls, answer)[:left]:
            yield item
            left = None if left is None else left - 1
        before, cursor = cursor, answer.get("next")
        if cursor is None:
            return
        if cursor == before:
            raise BadAnswer("The server's list never ends: the next page is the same page.")
