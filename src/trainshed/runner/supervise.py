"""One Attempt from its assignment to its end: the life of a runner.

The shortest job costs two or three messages. Threads (logs, heartbeat, orders) start only once the
user's process has lived for ``LAZY_S``; before that not even its start is told.
"""

from __future__ import annotations

import contextlib
import os
import select
from dataclasses import replace
from functools import partial
from typing import Any

from trainshed.runner import launch, report, workspace
from trainshed.runner.client import Changed, Client, Stale
from trainshed.runner.collect import CollectFailed, Collector, is_empty
from trainshed.runner.config import Config
from trainshed.runner.prepare import Preparing
from trainshed.runner.snapshots import Epochs, Snapshots
from trainshed.runner.system import monotonic, start_time, write_durably
from trainshed.runner.tree import end_children
from trainshed.runner.watch import Watch
from trainshed.wire.v1 import PROTOCOL, Assignment, Finished

LAZY_S = 0.15
#: Extended attribute (cheaper than a file) or file of the workspace that says who its runner is.
HANDLE = "user.trainshed.runner"


def run(config: Config, attempt_id: str, token: str, api_url: str) -> None:
    """Be the runner of one Attempt. Returns when nothing of it is left."""
    client = Client(api_url, attempt_id, token)
    root = config.workspace(attempt_id)
    _leave_handle(config, root)
    hello = {"protocol": PROTOCOL, "boot_id": config.boot_id, "pid": os.getpid()}
    with contextlib.suppress(Stale):
        answer = client.call("POST", "assignment", hello)
        if answer.status == 200:
            Supervisor(config, client, Assignment.from_json(answer.json()), root).live()
    end_children()


def _leave_handle(config: Config, root: str) -> None:
    """Say where the runner is, for an executor that lost its handle (the server died at launch)."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o711)
    text = f"{os.getpid()} {start_time(os.getpid())} {config.boot_id}".encode()
    try:
        os.setxattr(root, HANDLE, text)
    except OSError:
        fd = os.open(
            f"{root}/{HANDLE}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        os.write(fd, text)
        os.close(fd)


class Supervisor(Preparing):
    """The state of one Attempt. All methods run on the main thread, except where they say so."""

    def live(self) -> None:
        """Prepare, start, supervise, collect, report. Stale leases end silently."""
        try:
            done = self._work()
            write_durably(self.place.outcome, done.to_json())
            self.client.call("POST", "finished", done.to_json())
        except Stale:
            pass
        finally:
            self.letters.end()
            self.network.end()
            self.group.kill()
            end_children()
            if self.container is not None and self.container.there:
                self.container.remove()
            self.group.remove()

    def stop_clock(self) -> None:
        """Note that the user's process has ended."""
        self._runtime_ms = self.runtime_ms()

    def _work(self) -> Finished:
        try:
            spawned = self._prepare()
        except (launch.StartFailed, workspace.InputMissing, OSError) as error:
            return self._unstarted(error)
        except workspace.Interrupted:
            if self.box.stale:
                raise Stale from None
            message = f"The job was stopped ({self.box.order}) before it started."
            self._close_logs()
            return Finished("signalled", stopped_by=self.box.order, message=message)
        return self._supervise(spawned)

    def _unstarted(self, error: Exception) -> Finished:
        cause = "start_failed"
        message = str(error)
        if isinstance(error, launch.StartFailed):
            cause = error.cause
        elif isinstance(error, workspace.InputMissing):
            cause = "input_missing"
        elif isinstance(error, OSError):
            message = f"The workspace cannot be made: {error.strerror or error}."
        if hasattr(self, "_shipper"):
            self.say(message)
            self._close_logs()
        return Finished(cause, message=message, image_digest=self._digest())

    def _supervise(self, spawned: launch.Spawned) -> Finished:
        watch = Watch(self, spawned)
        if spawned.inside is not None or not _ended_within(spawned.pidfd, LAZY_S):
            self._start_threads()
            watch.until_end()
        end = watch.reap()
        self._runtime_ms = self.runtime_ms()
        if self.box.stale:
            raise Stale
        watch.end_tree()
        stopped_by = watch.stopped_by
        cause, message = watch.verdict(end)
        why = launch.refused(end.code, os.pread(self._logs[1], 4096, 0))
        if why is not None:
            cause, message = "start_failed", f"The program could not be started: {why}"
        if message and (cause is not None or end.code or end.signal):
            self.say(message)
        failure = self._finish()
        if failure and cause is None and stopped_by is None and end.code == 0:
            cause, message = "collect_failed", failure
        done = report.finished(end, cause, stopped_by, self._runtime_ms, message)
        # Said again unless its answer came: the server takes it once.
        unheard = None if self._told else self._start_message()
        return replace(done, image_digest=self._digest(), started=unheard)

    def _start_message(self) -> dict[str, Any]:
        assert self._started is not None
        return replace(self._started, age_ms=int((monotonic() - self._began) * 1000)).to_json()

    def _start_threads(self) -> None:
        """From here on the Attempt is heard of and spoken to."""
        if self._snapshots is not None:
            return
        self.letters.begin()
        self.letters.also("started", self._tell_started)
        if self._desk is not None:
            client = self.client.again()
            self.letters.also("bench", partial(self._desk.serve, client, self._is_over))
        self._snapshots = Snapshots(
            Collector(self.client.again(), self.say, self._began), self.place, self.box,
            self.runtime_ms, self.job.checkpoint_every_s, self.job.limits.get("disk_bytes", 0),
        )  # fmt: skip
        if self.job.checkpoint_every_s:
            self._snapshots.begin()
        if self.job.checkpoint_every_epochs:
            epochs = Epochs(self.job.checkpoint_every_epochs, self._snapshots.due)
            self._shipper.listen = epochs.hear
        self._begin_shipping()

    def _is_over(self) -> bool:
        return self.box.done or self._ended

    def snapshot(self) -> None:
        """Obey a checkpoint order."""
        if self._snapshots is not None:
            self._snapshots.ask()

    def _tell_started(self) -> None:
        """Tell that the user's process runs, on a thread of its own: the server may be away."""
        client = self.client.again()
        self.box.put(client.call("POST", "started", self._start_message()).json())
        self._told = True

    def _finish(self) -> str:
        """Send the rest of the logs and what the job left; return why not, or ""."""
        self._ended = True
        if self._snapshots is not None:
            self._snapshots.end()
        both = (("checkpoint", self.place.checkpoints), ("artifact", self.place.output))
        sets = [(kind, path) for kind, path in both if not is_empty(path)]
        if sets:
            self._start_threads()
        if self._shipping is not None:
            self._shipping.join()
        if self.box.stale:
            raise Stale
        failure = ""
        for kind, path in sets:
            assert self._snapshots is not None
            try:
                limit = self.job.limits.get("disk_bytes", 0)
                self._snapshots.collector.collect(kind, path, self.runtime_ms(), limit)
            except (CollectFailed, Changed) as error:
                failure = str(error) or f"The {kind} files changed while they were read."
                self.say(failure)
        self._shipper.drain()
        return failure


def _ended_within(pidfd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
