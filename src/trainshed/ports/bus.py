"""Wake-ups inside one server: the truth is in the store, this only says when to look."""

from __future__ import annotations

from typing import Protocol


class Bus(Protocol):
    """Topics: ``queue`` (something to place), ``events``, ``stream:<attempt>``,
    ``orders:<attempt>``.
    """

    @property
    def closing(self) -> bool:
        """Whether the server is ending: a request that only waits is answered now."""

    def notify(self, topic: str) -> None:
        """Wake whoever waits for ``topic``. Thread-safe, never blocks, may be spurious."""

    async def wait(self, topic: str, timeout_s: float) -> bool:
        """Wait for the next ``notify`` of ``topic``; False after ``timeout_s`` seconds."""
