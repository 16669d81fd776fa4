"""Checkpoints taken while the job runs: on request, periodically, or by epochs; always whole."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable

from trainshed.runner import workspace
from trainshed.runner.client import Changed, Stale
from trainshed.runner.collect import CollectFailed, Collector, Snapshot, listing
from trainshed.runner.metrics import Row
from trainshed.runner.orders import Mailbox
from trainshed.runner.system import monotonic
from trainshed.runner.workspace import Workspace

#: A checkpoint is whole when its directory stayed as it was for so long, looked at so often.
QUIET_S = 0.5
LOOK_S = 0.1
#: A job that never leaves it alone for so long, but was only seen to replace files by whole ones
#: meanwhile, is taken between two looks: fast epochs would never be kept otherwise.
RESTLESS_S = 2.0
#: How long a job has to notice a request before what is already there is taken.
NOTICE_S = 10.0
#: How long one snapshot is tried.
TRY_S = 10.0


class Epochs:
    """Hears reported epochs; calls ``due`` each time ``every`` further ones were reported.

    Counts what is reported, not reports: an epoch told twice, or in thousandths as the Hugging
    Face Trainer does, counts once, and one that was left out is not waited for.
    """

    def __init__(self, every: int, due: Callable[[], None]) -> None:
        self._every = every
        self._due = due
        self._reached = 0

    def hear(self, rows: Iterable[Row]) -> None:
        """Take points as they are found in what the job says."""
        told = [value for key, _, _, value in rows if key == "epoch" and math.isfinite(value)]
        reached = int(max(told, default=0.0) // self._every)
        if reached > self._reached:
            self._reached = reached
            self._due()


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
        self._news_only = True
        self._over = False
        self._only_replaces = False
        self._since = 0.0
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
        self._news_only = False
        self._asked.set()
        self.begin()

    def due(self) -> None:
        """Take what the job saves around now; it is not asked. From the shipping thread."""
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
            if asked and self._news_only:
                self._wait_for_news()
            elif asked:
                self._news_only = True
                self._wait_for_notice()
            if not self._over:
                self._take()

    def _wait_for_notice(self) -> None:
        end = monotonic() + NOTICE_S
        while os.path.exists(self._place.checkpoint_flag) and monotonic() < end:
            if self._over:
                return
            time.sleep(0.1)

    def _wait_for_news(self) -> None:
        """Wait for a checkpoint that was not kept yet: many scripts report, then save."""
        end = monotonic() + NOTICE_S
        while not self._has_news() and monotonic() < end and not self._over:
            time.sleep(0.1)

    def _has_news(self) -> bool:
        with contextlib.suppress(CollectFailed):
            return self.collector.has_news("checkpoint", self._place.checkpoints)
        return False

    def _take(self) -> None:
        began = monotonic()
        self._since = self._since if self._only_replaces else began
        try:
            while monotonic() < began + TRY_S:
                if self._over or (self._quiet() and self._try_once()):
                    return
        except Stale:
            self._box.end()
            self._over = True

    def _try_once(self) -> bool:
        """Return whether there is nothing left to do. Raises Stale."""
        if not self._has_news():
            return True
        self.collector.announce(True)
        try:
            ms = self._runtime_ms()
            self.collector.collect("checkpoint", self._place.checkpoints, ms, self._max_bytes)
        except (Changed, CollectFailed):
            return False
        finally:
            self.collector.announce(False)
        return True

    def _quiet(self) -> bool:
        """Wait a moment; return whether the directory stayed as it was."""
        with contextlib.suppress(CollectFailed):
            before = listing(self._place.checkpoints)
            until = monotonic() + QUIET_S
            while monotonic() < until:
                time.sleep(LOOK_S)
                now = listing(self._place.checkpoints)
                if now.key != before.key:
                    if _rewritten(before, now):
                        self._since = monotonic()
                    self._only_replaces = monotonic() >= self._since + RESTLESS_S
                    return False
                if self._only_replaces:
                    return True
            return True
        return False


def _rewritten(before: Snapshot, now: Snapshot) -> bool:
    """Return whether a file was written in place: the same file, other content."""
    then = {(e.path, e.inode): e for e in before.entries}
    return any(then.get((e.path, e.inode), e) != e for e in now.entries)
