"""What the server says to a running Attempt, and how it hears that the Attempt lives.

Both threads start only once a job has lived for a moment. What they learn wakes the main
thread, which alone acts on processes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

from trainshed.runner.client import Abandoned, Client, Stale
from trainshed.runner.system import monotonic
from trainshed.wire.v1 import Heartbeat

WAIT_S = 20
STOPS = frozenset({"cancel", "pause", "preempt", "drain"})


class Mailbox:
    """What arrived and is not yet acted on. ``wake`` becomes readable on news."""

    def __init__(self) -> None:
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.order: str | None = None
        self.grace_s: float | None = None
        self.checkpoint = False
        self.stale = False
        self.done = False

    def put(self, reply: dict[str, Any]) -> None:
        """Take a ``Reply``. The first stop order stays, except that cancel replaces the others."""
        order = reply.get("order")
        if not isinstance(order, dict):
            return
        kind = order.get("kind")
        if kind == "checkpoint":
            self.checkpoint = True
        elif kind in STOPS and (self.order is None or (kind == "cancel" and self.order != kind)):
            grace = order.get("grace_s")
            self.grace_s = float(grace) if isinstance(grace, int | float) else None
            self.order = str(kind)
        else:
            return
        self.ring()

    def end(self) -> None:
        """The lease is gone."""
        self.stale = True
        self.ring()

    def ring(self) -> None:
        """Wake the main thread."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self.wake, 1)

    def hush(self) -> None:
        """Forget that it was woken."""
        with contextlib.suppress(OSError):
            os.eventfd_read(self.wake)


class Correspondence:
    """The heartbeat and the long poll of one Attempt."""

    def __init__(
        self, client: Client, box: Mailbox, heartbeat_s: float, figures: Callable[[], Heartbeat]
    ) -> None:
        self._client = client
        self._box = box
        self._every = max(heartbeat_s, 0.05)
        self._figures = figures
        self._pause = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Start both threads, once."""
        if not self._threads:
            self.also("orders", self._listen)
            self.also("heart", self._beat)

    def also(self, name: str, body: Callable[[], None]) -> None:
        """Run ``body`` on a thread of its own; if it finds the lease gone, that is news."""
        thread = threading.Thread(target=self._guard, args=(body,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Tell both threads to finish; does not wait."""
        self._box.done = True
        self._pause.set()

    def _guard(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Stale:
            self._box.end()
        except Abandoned:
            pass

    def _beat(self) -> None:
        client = self._client.again()
        due = monotonic()
        while not self._box.done:
            answer = client.call("POST", "heartbeat", self._figures().to_json(), self._ended)
            self._box.put(answer.json())
            due = max(due + self._every, monotonic())
            self._pause.wait(due - monotonic())

    def _listen(self) -> None:
        client = self._client.again()
        while not self._box.done:
            asked = monotonic()
            answer = client.call("GET", f"orders?wait_s={WAIT_S}", None, self._ended)
            self._box.put(answer.json())
            # A stop order stays open until the end: the server would answer at once, forever.
            if self._box.order is not None:
                self._pause.wait(1.0)
            elif monotonic() - asked < 0.05:
                self._pause.wait(0.2)

    def _ended(self) -> bool:
        return self._box.done
