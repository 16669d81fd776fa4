"""Checkpoints taken while the job runs: on request and periodically, always whole."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from trainshed.runner import workspace
from trainshed.runner.client import Changed, Stale
from trainshed.runner.collect import CollectFailed, Collector, listing
from trainshed.runner.orders import Mailbox
from trainshed.runner.system import monotonic
from trainshed.runner.workspace import Workspace

QUIET_S = 0.5
#: How long a job has to notice a request before what is already there is taken.
NOTICE_S = 10.0
TRIES = 20


class Snapshots:
    """Owns the Collector while its thread runs; after ``end`` the main thread does."""

    def __init__(
        self, collector: Collector, place: Workspace, box: Mailbox,
        runtime_ms: Callable[[], int], every_s: float | None, max_bytes: int,
    ) -> None:  # fmt: skip
        self.collector = collector
        self._place = place
        self._box = box
        self._runtime_ms = runtime_ms
        self._every_s = every_s
        self._max_bytes = max_bytes
        self._asked = threading.Event()
        self._over = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=True)
            self._thread.start()

    def ask(self) -> None:
        """Ask the job for a checkpoint and take it when it is there."""
        owner = os.stat(self._place.job).st_uid
        workspace.flag(self._place.checkpoint_flag, "", owner if os.getuid() == 0 else None)
        self._asked.set()
        self.begin()

    def end(self) -> None:
        """Stop; a snapshot in progress is finished first, as its bytes are needed anyway."""
        self._over = True
        self._asked.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._over:
            asked = self._asked.wait(self._every_s)
            self._asked.clear()
            if asked:
                self._wait_for_notice()
            if not self._over:
                self._take()

    def _wait_for_notice(self) -> None:
        end = monotonic() + NOTICE_S
        while os.path.exists(self._place.checkpoint_flag) and monotonic() < end:
            if self._over:
                return
            time.sleep(0.1)

    def _take(self) -> None:
        for _ in range(TRIES):
            if not self._quiet() or self._over:
                continue
            try:
                ms = self._runtime_ms()
                self.collector.collect("checkpoint", self._place.checkpoints, ms, self._max_bytes)
                return
            except (Changed, CollectFailed):
                continue
            except Stale:
                self._box.end()
                self._over = True
                return

    def _quiet(self) -> bool:
        """Wait a moment; return whether the directory stayed as it was."""
        with contextlib.suppress(CollectFailed):
            before = listing(self._place.checkpoints).key
            time.sleep(QUIET_S)
            return listing(self._place.checkpoints).key == before
        return False
