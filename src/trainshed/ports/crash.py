"""Named points at which a test lets the process die, to prove that nothing acknowledged is lost.

A wing names its points at import by ``register``; ``crashpoint`` does nothing until ``bootstrap``
arms one name for the life of the process. This is the one piece of module state in the house: it is
set explicitly, and only in tests.
"""

from __future__ import annotations

from collections.abc import Callable

_names: set[str] = set()
_armed: dict[str, Callable[[int], object]] = {}


def register(*names: str) -> None:
    """Make points known to the test that iterates over all of them."""
    _names.update(names)


def names() -> frozenset[str]:
    """Return every point of the rooms imported so far."""
    return frozenset(_names)


def arm(name: str | None, exit_fn: Callable[[int], object]) -> None:
    """Let ``crashpoint(name)`` call ``exit_fn(137)``; None or empty disarms."""
    _armed.clear()
    if name:
        _armed[name] = exit_fn


def crashpoint(name: str) -> None:
    """Die here if this point is armed."""
    if _armed and name in _armed:
        _armed[name](137)
