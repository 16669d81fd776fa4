"""What every family of methods shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from middleman.errors import BadAnswerError, MiddlemanError
from middleman.models import read
from middleman.transport import Transport

T = TypeVar("T")
_ELSE = (
    "The server sent no {} where one was expected. Is this the address of a Middleman API?"
    " It ends with /api/v1."
)


class Family:
    """Base of the families; the client gives the transport."""

    _transport: Transport

    def _get(self, path: str, **params: Any) -> Any:
        return self._transport.call("GET", path, params=params)

    def _post(self, path: str) -> Any:
        return self._transport.call("POST", path)

    def _create(self, path: str, body: Mapping[str, Any], **params: Any) -> Any:
        """Make something by a POST that may be sent again: it makes one all the same."""
        return self._transport.call("POST", path, body=body, params=params, repeatable=True)


def at(family: str, identity: str, *verb: str) -> str:
    """Return the path of one object; an id can never name another route.

    Raises:
        MiddlemanError: it is no id.
    """
    if identity in ("", ".", ".."):
        raise MiddlemanError(f"{identity!r} is no id.")
    return "/".join((family, quote(identity, safe=""), *verb))


def mapping(answer: Any) -> dict[str, Any]:
    """Return the object that ``answer`` is.

    Raises:
        BadAnswerError: it is none.
    """
    if not isinstance(answer, dict):
        raise BadAnswerError(_ELSE.format("object"))
    return answer


def listed(answer: Any, key: str | None = None) -> list[dict[str, Any]]:
    """Return the list of objects that ``answer`` is, or has under ``key``.

    Raises:
        BadAnswerError: there is none.
    """
    found = answer if key is None else mapping(answer).get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadAnswerError(_ELSE.format("list"))
    return found


def paged(answer: Any) -> tuple[list[dict[str, Any]], int]:
    """Return a page's objects and how many there are in all."""
    found = listed(answer, "data")
    total = answer.get("total")
    return found, total if isinstance(total, int) else len(found)


def value(answer: Any, key: str, cls: type[T]) -> T:
    """Return what ``answer`` has under ``key``.

    Raises:
        BadAnswerError: it is not there, or no ``cls``.
    """
    found = mapping(answer).get(key)
    if not isinstance(found, cls):
        raise BadAnswerError(f"The server sent no {key!r} where one was expected.")
    return found


def objects(cls: type[T], found: list[dict[str, Any]]) -> list[T]:
    """Return JSON objects as models."""
    return [read(cls, item) for item in found]
