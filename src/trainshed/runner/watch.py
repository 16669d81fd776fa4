"""The main thread's watch over the user's process: orders, limits, and a certain end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Protocol

from trainshed.runner import report, workspace
from trainshed.runner.containers import Container
from trainshed.runner.launch import Inside, Spawned
from trainshed.runner.limits import LOG_SLACK, Cgroup
from trainshed.runner.network import Network
from trainshed.runner.orders import Mailbox
from trainshed.runner.report import Exit
from trainshed.runner.system import monotonic
from trainshed.runner.tree import (
    ask_to_end,
    descendants,
    end_children,
    first_user_process,
    kill_all,
    usage,
    user_process,
    wait_for_children,
)
from trainshed.runner.workspace import Workspace
from trainshed.wire.v1 import Assignment

STOP_TICK_S = 0.05
MEMORY_TICK_S = 0.2
DISK_TICK_S = 1.0
IDLE_TICK_S = 5.0
#: An engine has this long to tidy up once the container's first process has ended.
TIDY_S = 30.0
SIGKILL_EXIT = 137


class Attempt(Protocol):
    """What the watch needs of the Supervisor."""

    job: Assignment
    box: Mailbox
    group: Cgroup
    place: Workspace
    network: Network
    container: Container | None

    def runtime_ms(self) -> int:
        """Return the run time so far."""

    def stop_clock(self) -> None:
        """The user's process has ended."""

    def snapshot(self) -> None:
        """Obey a checkpoint order."""


class Watch:
    """Supervises one spawned process until nothing of it is left."""

    def __init__(self, attempt: Attempt, spawned: Spawned) -> None:
        self.stopped_by: str | None = None
        self._attempt = attempt
        self._spawned = spawned
        self._limits = attempt.job.limits
        self._cause: str | None = None
        self._message = ""
        self._main: int | None = None
        self._asked = attempt.network.pids
        self._stopping: tuple[float, float] | None = None
        self._memory_due = 0.0
        self._disk_due = 0.0
        self._peak = 0
        self._inside = spawned.inside
        self._root = os.getpid() if spawned.inside is None else spawned.inside.pid
        self._oom = False
        self._tidy_until: float | None = None
        self._orderly = False

    def until_end(self) -> None:
        """Return once the user's process has ended."""
        poller = select.poll()
        poller.register(self._spawned.pidfd, select.POLLIN)
        poller.register(self._attempt.box.wake, select.POLLIN)
        inner = -1 if self._inside is None else self._inside.pidfd
        if inner >= 0:
            poller.register(inner, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll(self._wait_s() * 1000)}
            if inner in ready:
                poller.unregister(inner)
                self._inside_ended()
            if self._spawned.pidfd in ready:
                return
            self._attempt.box.hush()
            self._obey()
            self._check()
            self._escalate()

    def reap(self) -> Exit:
        """Return how the user's process ended."""
        status = os.waitpid(self._spawned.pid, 0)[1]
        os.close(self._spawned.pidfd)
        self._orderly = os.WIFEXITED(status)
        if self._attempt.container is not None:
            return self._attempt.container.end(status)
        return report.exit_of(status, self._spawned.wrapped)

    def end_tree(self) -> None:
        """Leave nothing running. During a stop, what is left has the rest of its grace."""
        self._main = None
        self._attempt.network.end()
        if self._inside is not None:
            self._kill()
            self._orderly = wait_for_children(TIDY_S) and self._orderly
        elif self._stopping is not None and self._cause not in ("memory", "disk"):
            while monotonic() < self._stopping[1] and descendants(os.getpid()):
                self._escalate()
                end_zombies()
                time.sleep(STOP_TICK_S)
        left = descendants(os.getpid())
        if left:
            self._attempt.group.kill()
        end_children()

    def verdict(self, end: Exit) -> tuple[str | None, str]:
        """Return the limit that ended it (or None) and the sentence for people."""
        failed = end.signal is not None or end.code != 0
        container = self._attempt.container
        if self._cause is None and failed and self._ran_out_of_memory():
            self._cause = "memory"
            peak = self._attempt.group.peak_bytes() or self._peak or None
            self._message = report.memory(self._limits, peak)
        if container is not None:
            container.finish(self._orderly)
        if self._cause is not None:
            return self._cause, self._message
        return None, report.own_end(end, self.stopped_by)

    def _ran_out_of_memory(self) -> bool:
        container = self._attempt.container
        if self._oom or self._attempt.group.oom_kills():
            return True
        return container is not None and container.out_of_memory()

    def _inside_ended(self) -> None:
        """The user's process in a container has ended: what is left is the engine's tidying up,
        which takes the control group and what it knows away.
        """
        self._attempt.stop_clock()
        self._oom = self._attempt.group.oom_kills() > 0
        self._peak = max(self._peak, self._attempt.group.peak_bytes() or 0)
        self._inside = Inside()
        self._tidy_until = monotonic() + TIDY_S

    def _wait_s(self) -> float:
        if self._stopping is not None:
            return STOP_TICK_S
        now = monotonic()
        waits = [IDLE_TICK_S]
        if self._limits.get("max_runtime_ms"):
            waits.append((self._limits["max_runtime_ms"] - self._attempt.runtime_ms()) / 1000)
        if self._limits.get("memory_bytes") and not self._attempt.group.limits_memory:
            waits.append(self._memory_due - now)
        if self._limits.get("disk_bytes"):
            waits.append(self._disk_due - now)
        return max(min(waits), 0.001)

    def _obey(self) -> None:
        box = self._attempt.box
        if box.stale:
            self._kill()
            return
        if box.checkpoint:
            box.checkpoint = False
            self._attempt.snapshot()
        if box.order is not None and box.order != self.stopped_by and self._cause is None:
            self.stopped_by = box.order
            self._stop(box.order, box.grace_s)

    def _stop(self, why: str, grace_s: float | None) -> None:
        """Raise the flag, send SIGTERM, and set the end of the grace."""
        grace = self._attempt.job.grace_s if grace_s is None else grace_s
        now = monotonic()
        if self._stopping is None:
            place = self._attempt.place
            owner = os.stat(place.job).st_uid if os.getuid() == 0 else None
            workspace.flag(place.stop_flag, why, owner)
            self._main = self._user_process()
            self._stopping = (now + grace / 2, now + grace)
        else:
            self._stopping = (
                min(self._stopping[0], now + grace / 2), min(self._stopping[1], now + grace),
            )  # fmt: skip

    def _escalate(self) -> None:
        if self._stopping is None or self._tidy_until is not None:
            return  # with the container gone its pids may be anybody's
        half, end = self._stopping
        now = monotonic()
        if now >= end:
            self._kill()
        else:
            ask_to_end(self._main, self._root, self._asked, now >= half)

    def _user_process(self) -> int | None:
        if self._inside is None:
            return user_process(self._spawned.pid, self._spawned.wrapped)
        return first_user_process(self._inside.pid) if self._inside.pid else None

    def _kill(self) -> None:
        """Kill the tree. Of a container only what is inside: the engine then removes it."""
        self._attempt.group.kill()
        if self._inside is None:
            kill_all(descendants(os.getpid()))
        elif self._inside.pid:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._inside.pidfd, signal.SIGKILL)

    def _check(self) -> None:
        now = monotonic()
        if self._tidy_until is not None and now > self._tidy_until:
            kill_all(descendants(os.getpid()))
        if self._cause is not None:
            return
        limit = self._limits.get("max_runtime_ms")
        if limit and self._attempt.runtime_ms() >= limit and self.stopped_by is None:
            self._cause, self._message = "timeout", report.time_limit(self._limits)
            self._stop("timeout", None)
        if now >= self._memory_due and not self._attempt.group.limits_memory:
            self._memory_due = now + MEMORY_TICK_S
            self._check_memory()
        if now >= self._disk_due:
            self._check_disk()
            self._disk_due = monotonic() + max(DISK_TICK_S, (monotonic() - now) * 20)

    def _check_memory(self) -> None:
        limit = self._limits.get("memory_bytes")
        if not limit:
            return
        used = usage(self._root, itself=self._inside is not None).rss_bytes
        self._peak = max(self._peak, used)
        if used > limit:
            self._cause, self._message = "memory", report.memory(self._limits, self._peak)
            self._kill()

    def _check_disk(self) -> None:
        self._cut_logs()
        limit = self._limits.get("disk_bytes")
        if not limit:
            return
        used = workspace.size_of(self._attempt.place, limit)
        if used > limit:
            self._cause, self._message = "disk", report.disk(self._limits, used)
            self._kill()

    def _cut_logs(self) -> None:
        """Cut log files that are beyond what the server would take, should it be away."""
        limit = self._limits.get("log_bytes")
        if not limit:
            return
        for name in ("stdout", "stderr"):
            path = f"{self._attempt.place.root}/{name}.log"
            if os.stat(path).st_size > limit + LOG_SLACK // 2:
                os.truncate(path, limit + 1)


def end_zombies() -> None:
    """Reap what has ended; keep the rest."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
