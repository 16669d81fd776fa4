"""One Attempt from its assignment to its end: the life of a runner.

The shortest job costs three or four messages. Threads (logs, heartbeat, orders) start only once the
user's process has lived for ``LAZY_S``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import threading
import time
import zlib
from dataclasses import replace

from trainshed.runner import etc, launch, report, workspace
from trainshed.runner.client import Abandoned, Answer, Changed, Client, Stale, persist
from trainshed.runner.collect import CollectFailed, Collector, is_empty
from trainshed.runner.config import SYSTEM_DIRS, Config, prefixes
from trainshed.runner.limits import Cgroup, create
from trainshed.runner.orders import Correspondence, Mailbox
from trainshed.runner.sandboxes import Box, Choice, Unreachable, bare, bwrap, choose
from trainshed.runner.ship import Shipper, Tail
from trainshed.runner.snapshots import Snapshots
from trainshed.runner.system import monotonic, start_time, write_durably
from trainshed.runner.tree import Usage, end_children, usage
from trainshed.runner.watch import Watch
from trainshed.runner.workspace import Workspace
from trainshed.wire.v1 import PROTOCOL, Assignment, Finished, Heartbeat, Started

LAZY_S = 0.15
#: Extended attribute (cheaper than a file) or file of the workspace that says who its runner is.
HANDLE = "user.trainshed.runner"
SHIP_LEAST_S, SHIP_MOST_S = 0.05, 0.4
#: Downloads below this size and time need no heartbeat beside them.
SMALL, SHORT_S = 16 * 1024**2, 1.0
FALLBACK_UID, FALLBACK_UIDS = 2_000_000, 1_000_000


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


class Supervisor:
    """The state of one Attempt. All methods run on the main thread, except where they say so."""

    def __init__(self, config: Config, client: Client, job: Assignment, root: str) -> None:
        self.config = config
        self.client = client
        self.job = job
        self.root = root
        self.box = Mailbox()
        self.group = Cgroup()
        self.place = Workspace(root)
        self.letters = Correspondence(client, self.box, job.heartbeat_s, self.figures)
        self._began = monotonic()
        self._runtime_ms: int | None = None
        self._unanswered = False
        self._shipping: threading.Thread | None = None
        self._snapshots: Snapshots | None = None
        self._ended = False
        self._system: int | None = None

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
            self.group.kill()
            end_children()
            self.group.remove()

    def figures(self) -> Heartbeat:
        """Return what a heartbeat says. Called from the heartbeat's thread."""
        used = usage(os.getpid()) if self._runtime_ms is None else Usage(0, 0, 0)
        return Heartbeat(self.runtime_ms(), used.rss_bytes, used.cpu_ms)

    def runtime_ms(self) -> int:
        """Return how long the user's process has run, in ms by the boot clock."""
        if self._runtime_ms is not None:
            return self._runtime_ms
        return int((monotonic() - self._began) * 1000)

    def say(self, text: str) -> None:
        """Append a line to the ``system`` stream. Any thread."""
        if self._system is None:
            self._system = workspace.open_log(f"{self.root}/system.log", None)
            self._shipper.tails.append(Tail("system", self._system))
        os.write(self._system, text.rstrip("\n").encode() + b"\n")

    def _work(self) -> Finished:
        try:
            spawned = self._prepare()
        except (launch.StartFailed, workspace.InputMissing, OSError) as error:
            return self._unstarted(error)
        except workspace.Interrupted:
            if self.box.stale:
                raise Stale from None
            message = f"The job was stopped ({self.box.order}) before it started."
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
            self._shipper.drain()
        return Finished(cause, message=message)

    def _prepare(self) -> launch.Spawned:
        job, config = self.job, self.config
        uid = FALLBACK_UID + zlib.crc32(job.attempt_id.encode()) % FALLBACK_UIDS
        try:
            choice = choose(config.host, job.sandbox, self._reachable(), uid)
        except Unreachable as error:
            raise launch.StartFailed(str(error)) from error
        resuming = job.resume is not None and not job.volume
        self.place = workspace.create(self.root, choice.uid, resuming)
        self._open_logs(choice)
        _check_environment(job)
        inputs = {"inputs": job.inputs, "resume": job.resume}
        into = self.place.checkpoints if job.volume else self.place.resume
        workspace.fetch_all(self.client, self.place, inputs, choice.uid, self._fetching, into)
        box = self._box(choice)
        shown = box.mounts[0][1] if box.mounts else self.place.checkpoints
        tmp = "/tmp" if choice.kind == "bwrap" else self.place.tmp  # noqa: S108
        env = launch.environment(job, self.place, config.library, tmp, shown)
        visible = None
        if choice.kind == "bwrap":
            visible = [*SYSTEM_DIRS, *box.readable, *box.writable]
        command = launch.resolve(job, self.place, env["PATH"], visible, shown)
        in_namespace = choice.kind == "bwrap"
        self.group = create(config.groups, job.attempt_id, job.limits, in_namespace)
        prepared_ms = int((monotonic() - self._began) * 1000)
        self._began = monotonic()
        spawned = launch.start(
            config.host, choice, box, command, env, self._logs, self.group, job.limits
        )
        self._started = Started(spawned.pid, choice.level, prepared_ms).to_json()
        self.client.send("POST", "started", self._started)
        self._unanswered = True
        return spawned

    def _fetching(self, n_bytes: int) -> bool:
        """Called before each download: a long one must not cost the lease. False: stop."""
        if n_bytes > SMALL or monotonic() - self._began > SHORT_S:
            self.letters.begin()
        return self.box.order is None and not self.box.stale

    def _reachable(self) -> bool:
        """Whether another uid can use the interpreter and the workspace without mounts."""
        asked_bare = self.job.sandbox.get("kind") == "bare"
        if not self.config.host.root or (self.config.host.bwrap_works and not asked_bare):
            return True
        return bare.reachable([self.job.python, self.root, self.config.library])

    def _box(self, choice: Choice) -> Box:
        job, config, place = self.job, self.config, self.place
        network = str(job.sandbox.get("network") or "host")
        if network == "egress":
            self.say("Network: none; egress is not available in this sandbox.")
        extra = [str(path) for path in job.sandbox.get("read_only") or []]
        writable = [place.work, place.output, place.checkpoints, place.job]
        if job.resume is not None and not job.volume:
            writable.append(place.resume)
        if choice.kind == "bwrap":
            etc.prepare(config.data, choice.uid)
        made = Box(
            work=place.work,
            tmp=place.tmp,
            writable=tuple(writable),
            readable=(*prefixes(job.python), config.source, config.library, *extra),
            uid=choice.uid,
            network=network == "host",
            gpus=bool(job.devices),
            hidden=config.data,
            etc=etc.folder(config.data),
        )
        if job.volume and choice.kind == "bwrap" and bwrap.can_show(made, job.volume):
            return replace(made, mounts=((place.checkpoints, job.volume),))
        return made

    def _open_logs(self, choice: Choice) -> None:
        out = workspace.open_log(f"{self.root}/stdout.log", choice.uid)
        err = workspace.open_log(f"{self.root}/stderr.log", choice.uid)
        self._logs = (out, err)
        tails = [Tail("stdout", out), Tail("stderr", err)]
        self._shipper = Shipper(self.client, tails, self.place.points, None)
        for line in (*self.job.system_log, *choice.notes):
            self.say(line)

    def _supervise(self, spawned: launch.Spawned) -> Finished:
        watch = Watch(self, spawned)
        if not _ended_within(spawned.pidfd, LAZY_S):
            self._start_threads()
            watch.until_end()
        end = watch.reap()
        self._runtime_ms = int((monotonic() - self._began) * 1000)
        if self.box.stale:
            raise Stale
        watch.end_tree()
        if self._shipping is None:
            self._answer_started()
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
        return report.finished(end, cause, stopped_by, self._runtime_ms, message)

    def _start_threads(self) -> None:
        """From here on the Attempt is heard of and spoken to."""
        if self._shipping is not None:
            return
        gc.enable()
        self._shipper.client = self.client.again()
        self.letters.begin()
        if self._unanswered:
            self.letters.also("started", self._answer_started)
        self._shipping = threading.Thread(target=self._ship, name="ship", daemon=True)
        self._shipping.start()
        self._snapshots = Snapshots(
            Collector(self.client.again(), self.say), self.place, self.box, self.runtime_ms,
            self.job.checkpoint_every_s, self.job.limits.get("disk_bytes", 0),
        )  # fmt: skip
        if self.job.checkpoint_every_s:
            self._snapshots.begin()

    def snapshot(self) -> None:
        """Obey a checkpoint order."""
        if self._snapshots is not None:
            self._snapshots.ask()

    def _answer_started(self) -> None:
        """Take the answer to ``started``, or send it again until there is one. Raises Stale.

        On a thread of its own if it takes long: the server is slow, or away.
        """
        sent = True

        def once() -> Answer:
            nonlocal sent
            if not sent:
                self.client.send("POST", "started", self._started)
            sent = False
            return self.client.receive()

        self.box.put(persist(once).json())
        self._unanswered = False

    def _ship(self) -> None:
        """Send logs and points while the process lives. Runs on its own thread."""
        wait = SHIP_LEAST_S
        try:
            while not self._ended:
                if self._shipper.round():
                    wait = SHIP_LEAST_S
                else:
                    time.sleep(wait)
                    wait = min(wait * 1.5, SHIP_MOST_S)
        except Stale:
            self.box.end()
        except Abandoned:
            pass

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


def _check_environment(job: Assignment) -> None:
    kind = str(job.environment.get("kind", "default"))
    if kind == "default":
        return
    what = {
        "image": "There is no container engine here to run the job's image: install podman"
        " (apt-get install podman) or docker on this machine",
        "requirements": "Environments from a requirements file cannot be built on this machine",
    }.get(kind, f"The environment kind {kind!r} is unknown")
    raise launch.StartFailed(
        f"{what}; use the default environment, or let the operator map it to a local one.",
        "environment",
    )
