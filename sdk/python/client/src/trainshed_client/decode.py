"""JSON objects to frozen dataclasses: unknown fields are ignored, so that an old client can read a
new server; missing ones take the field's default."""

from __future__ import annotations

import dataclasses
import types
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from trainshed_client.errors import BadAnswer

T = TypeVar("T")


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (f.name, hints[f.name], _is_required(f)) for f in dataclasses.fields(cls) if f.name != "raw"
    )


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def decode(cls: type[T], data: Any) -> T:
    """Return ``data`` (a JSON object) as ``cls``; the object itself is kept in ``raw``.

    Raises:
        BadAnswer: a required field is missing or a value has another type than it must.
    """
    if not isinstance(data, dict):
        raise BadAnswer(f"The server sent {type(data).__name__} where {cls.__name__} was expected.")
    found: dict[str, Any] = {"raw": data}
    for name, hint, required in _fields(cast(Any, cls)):
        if name not in data:
            if required:
                raise BadAnswer(f"The server sent {cls.__name__} without {name!r}.")
            continue
        try:
            found[name] = _value(hint, data[name])
        except (TypeError, ValueError) as error:
            raise BadAnswer(f"The server sent a {cls.__name__} with a bad {name!r}.") from error
    return cls(**found)


def _value(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(get_args(hint), value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError("not a list")
        return tuple(_value(get_args(hint)[0], item) for item in value)
    if origin is dict:
        return _dict(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value)
    return _scalar(hint, value)


def _union(arms: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in arms:
        return None
    (arm,) = (a for a in arms if a is not type(None))
    return _value(arm, value)


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return dict(value)


def _scalar(hint: Any, value: Any) -> Any:
    if hint is datetime:
        return datetime.fromisoformat(value)
    if issubclass(hint, Enum):
        return hint(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        raise TypeError("a truth value is no number")
    if not isinstance(value, hint):
        raise TypeError(f"not {hint.__name__}")
    return value
