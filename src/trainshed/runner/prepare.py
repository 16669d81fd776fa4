"""One Attempt until its user's process runs: what is fetched, built and made ready for it."""

from __future__ import annotations

import gc
import os
import threading
import time
import zlib
from dataclasses import replace

from trainshed.runner import (
    bench,
    build,
    cache,
    containers,
    etc,
    images,
    launch,
    network,
    preflight,
    workspace,
)
from trainshed.runner.client import Abandoned, Client, Stale
from trainshed.runner.config import SYSTEM_DIRS, Config, prefixes
from trainshed.runner.limits import Cgroup, create
from trainshed.runner.network import Network
from trainshed.runner.orders import Correspondence, Mailbox
from trainshed.runner.sandboxes import Box, Choice, Unreachable, bare, bwrap, choose
from trainshed.runner.ship import Shipper, Tail
from trainshed.runner.snapshots import Snapshots
from trainshed.runner.system import monotonic
from trainshed.runner.tree import Usage, usage
from trainshed.runner.workspace import Workspace
from trainshed.wire.v1 import Assignment, Heartbeat, Started

SHIP_LEAST_S, SHIP_MOST_S = 0.05, 0.4
#: Downloads below this size and time need no heartbeat beside them.
SMALL, SHORT_S = 16 * 1024**2, 1.0
FALLBACK_UID, FALLBACK_UIDS = 2_000_000, 1_000_000


class Preparing:
    """What one Attempt has and does until its process runs. ``Supervisor`` goes on from there."""

    def __init__(self, config: Config, client: Client, job: Assignment, root: str) -> None:
        self.config = config
        self.client = client
        self.job = job
        self.root = root
        self.box = Mailbox()
        self.group = Cgroup()
        self.place = Workspace(root)
        self.network = Network()
        self.letters = Correspondence(client, self.box, job.heartbeat_s, self.figures)
        self._began = monotonic()
        self._runtime_ms: int | None = None
        self._started: Started | None = None
        self._told = False
        self._kept: int | None = None
        self._shipping: threading.Thread | None = None
        self._snapshots: Snapshots | None = None
        self._ended = False
        self._system: int | None = None
        self.container: containers.Container | None = None
        self._root = os.getpid()
        self._cache = ""
        self._desk: bench.Desk | None = None

    def figures(self) -> Heartbeat:
        """Return what a heartbeat says. Called from the heartbeat's thread."""
        used = Usage(0, 0, 0)
        if self._runtime_ms is None:
            used = usage(self._root, itself=self.container is not None)
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
            self._shipper.tails.append(self._tail("system", self._system))
        os.write(self._system, text.rstrip("\n").encode() + b"\n")

    def _digest(self) -> str:
        return "" if self.container is None else self.container.image.digest

    def _close_logs(self) -> None:
        """Send what is left of the logs."""
        self._ended = True
        if self._shipping is not None:
            self._shipping.join()
        self._shipper.drain()

    def _prepare(self) -> launch.Spawned:
        job, config = self.job, self.config
        uid = FALLBACK_UID + zlib.crc32(job.attempt_id.encode()) % FALLBACK_UIDS
        if job.environment.get("kind") == "image":
            return self._prepare_container(uid)
        try:
            choice = choose(config.host, job.sandbox, self._reachable(), uid)
        except Unreachable as error:
            raise launch.StartFailed(str(error)) from error
        self.place = self._workspace(choice)
        self._open_logs(choice)
        job = self._with_environment(choice)
        self._fetch(choice)
        self._cache = cache.prepare(config.data, job, choice)
        if job.sandbox.get("bench"):
            self._desk = bench.Desk(self.place.job, choice.uid)
        self._look_ahead(choice)
        self.network = network.build(config, choice, job, self.say)
        self.job = job = replace(job, api_url=self.network.api_url)
        box = self._box(choice)
        shown = box.mounts[0][1] if box.mounts else self.place.checkpoints
        env = self._variables(choice, shown)
        visible = None
        if choice.kind == "bwrap":
            visible = [*SYSTEM_DIRS, *box.readable, *box.writable]
        command = launch.resolve(job, self.place, env["PATH"], visible, shown)
        in_namespace = choice.kind == "bwrap"
        self.group = create(config.groups, job.attempt_id, job.limits, in_namespace)
        prepared_ms = int((monotonic() - self._began) * 1000)
        self._began = monotonic()
        with self.network.entered():
            spawned = launch.start(
                config.host, choice, box, command, env, self._logs, self.group, job.limits
            )
        self._note_started(spawned, choice.level, prepared_ms)
        return spawned

    def _note_started(self, spawned: launch.Spawned, level: str, prepared_ms: int) -> None:
        self._started = Started(spawned.pid, level, prepared_ms, self.network.kind, self._digest())

    def _prepare_container(self, uid: int) -> launch.Spawned:
        """As ``_prepare``, in a container of the job's image; its pull comes before the clock."""
        job, config, asked = self.job, self.config, self.job.container
        choice = containers.choice(config.host.root, job.sandbox, uid)
        self.place = self._workspace(choice)
        self._open_logs(choice)
        folder, image = f"{self.root}/engine", str(job.environment.get("value"))
        engine = images.find_engine(str(asked.get("engine")), config.engine_env, folder, image)
        store = images.Images(engine, folder, self._announce, self._go_on)
        found = store.get(asked)
        self.network = network.of_container(config, engine.kind, choice, job, self.say)
        self.job = job = replace(job, api_url=self.network.api_url)
        self.container = containers.Container(
            engine, found, job, self.place, config.library, choice.uid, self.network
        )
        self._fetch(choice)
        prepared_ms = int((monotonic() - self._began) * 1000)
        spawned = self.container.start(self._logs, self._go_on)
        self._began = monotonic()
        if spawned.inside is not None and spawned.inside.pid:
            self._root = spawned.inside.pid
            self.group = containers.group_of(spawned.inside.pid, job.limits)
        self._note_started(spawned, choice.level, prepared_ms)
        return spawned

    def _workspace(self, choice: Choice) -> Workspace:
        """Make the folders; a volume needs no other place for what it begins with."""
        separate = self.job.resume is not None and not self.job.volume
        return workspace.create(self.root, choice.uid, separate)

    def _fetch(self, choice: Choice) -> None:
        job, place = self.job, self.place
        wanted = {"inputs": job.inputs, "resume": job.resume}
        into = place.checkpoints if job.volume else place.resume
        workspace.fetch_all(self.client, place, wanted, choice.uid, self._fetching, into)

    def _with_environment(self, choice: Choice) -> Assignment:
        """Find or build what the job runs in; a long build is heard of and can be stopped."""
        if self.job.environment.get("kind", "default") != "default":
            self.letters.begin()
            self._begin_shipping()
        self.job, self._kept = build.prepare(self.config, choice, self.job, self.say, self._go_on)
        return self.job

    def _look_ahead(self, choice: Choice) -> None:
        """Refuse a script whose framework is not there, before it costs anything."""
        if self.job.environment.get("framework"):
            self.letters.begin()
            box, env = self._box(choice), self._variables(choice)
            preflight.check(self.config, choice, self.job, box, env)

    def _variables(self, choice: Choice, shown: str = "") -> dict[str, str]:
        tmp = "/tmp" if choice.kind == "bwrap" else self.place.tmp  # noqa: S108
        found = launch.environment(self.job, self.place, self.config.library, tmp, shown)
        if self._cache:
            found[cache.variable(self.job)] = self._cache
        if self._desk is not None:
            found[bench.VARIABLE] = self._desk.path
        return found

    def _announce(self, text: str) -> None:
        """Say what takes long, at once, and keep the lease meanwhile."""
        self.letters.begin()
        self.say(text)
        self._begin_shipping()

    def _go_on(self) -> bool:
        """Whether nobody has asked for the end yet."""
        return self.box.order is None and not self.box.stale

    def _fetching(self, n_bytes: int) -> bool:
        """Called before each download: a long one must not cost the lease. False: stop."""
        if n_bytes > SMALL or monotonic() - self._began > SHORT_S:
            self.letters.begin()
        return self._go_on()

    def _reachable(self) -> bool:
        """Whether another uid can use the interpreter and the workspace without mounts."""
        asked_bare = self.job.sandbox.get("kind") == "bare"
        if not self.config.host.root or (self.config.host.bwrap_works and not asked_bare):
            return True
        return bare.reachable([self.job.python, self.root, self.config.library])

    def _box(self, choice: Choice) -> Box:
        job, config, place = self.job, self.config, self.place
        extra = [str(path) for path in job.sandbox.get("read_only") or []]
        writable = [place.work, place.output, place.checkpoints, place.job]
        if self._cache:
            writable.append(self._cache)
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
            network=self.network.kind != "none",
            resolv=self.network.resolv,
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
        tails = [self._tail("stdout", out), self._tail("stderr", err)]
        self._shipper = Shipper(self.client, tails, self.place.points, None)
        for line in (*self.job.system_log, *choice.notes):
            self.say(line)

    def _tail(self, name: str, fd: int) -> Tail:
        return Tail(name, fd, f"{self.root}/{name}.cut")

    def _begin_shipping(self) -> None:
        """Send logs and points from a thread of their own, once."""
        if self._shipping is None:
            gc.enable()
            self._shipper.client = self.client.again()
            self._shipping = threading.Thread(target=self._ship, name="ship", daemon=True)
            self._shipping.start()

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
