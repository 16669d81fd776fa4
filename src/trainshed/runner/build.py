"""Building one environment: a virtual environment, and what pip puts into it, in a sandbox.

Its own limits, and none of the Job's money: the paid clock starts with the user's process.
"""

from __future__ import annotations

import os
import re
import select
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from trainshed.runner import environments, etc, launch, report
from trainshed.runner.config import SYSTEM_DIRS, Config, prefixes
from trainshed.runner.limits import create
from trainshed.runner.sandboxes import Box, Choice
from trainshed.runner.system import monotonic
from trainshed.runner.tree import end_children
from trainshed.runner.workspace import Interrupted
from trainshed.wire.v1 import Assignment

TICK_S = 0.2
MAX_LINE = 4000
MAX_OUTPUT = 1024**2
MAX_MESSAGE = 600
#: Variables for pip that name files; a sandbox must show them.
PATHS = (
    "PIP_CERT", "PIP_CLIENT_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_LOGIN = re.compile(r"://[^/@\s]*@")
_SECRET = re.compile(r"://([^/@\s]+)@")


class BuildFailed(launch.StartFailed):
    """The environment cannot be had; the text says which requirement is to blame."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "environment")


@dataclass(slots=True)
class Builder:
    """Builds for one Attempt. Runs on the main thread; nothing of it outlives ``build``.

    ``say``: appends a line to the ``system`` stream. ``go_on``: False once the Job is stopped.
    """

    config: Config
    choice: Choice
    job: Assignment
    say: Callable[[str], None]
    go_on: Callable[[], bool]
    _secrets: set[str] = field(default_factory=set)
    _tail: list[str] = field(default_factory=list)
    _said: int = 0
    _until: float = 0.0

    def build(self, folder: str) -> None:
        """Make ``folder/venv``.

        Raises:
            BuildFailed: pip refused, or a limit was reached. Interrupted: the Job was stopped.
        """
        how = self.job.environment
        self._until = monotonic() + float(how.get("build_s") or 1800)
        self.say("Environment: building it from the requirements; this is not charged.")
        for name in ("venv", "scratch"):
            os.mkdir(f"{folder}/{name}", 0o700)
        box = self._box(folder)
        tmp = "/tmp" if self.choice.kind == "bwrap" else box.tmp  # noqa: S108
        env = self._variables(how.get("pip") or {}, box.tmp, tmp)
        self._put(f"{box.tmp}/requirements.txt", str(how.get("value") or ""))
        base = os.path.realpath(self.job.python)
        venv = f"{folder}/venv"
        self._step([base, "-I", "-m", "venv", venv], box, env, folder)
        pip = [f"{venv}/bin/python", "-I", "-m", "pip", "install", "-r", f"{tmp}/requirements.txt"]
        wheels = [] if how.get("sdists") else ["--only-binary=:all:"]
        self._step([*pip, *wheels], box, env, folder)
        try:
            environments.lead_to(venv, base)
        except OSError:
            raise BuildFailed("The packages took the environment's interpreter away.") from None
        shutil.rmtree(box.tmp)

    def _box(self, folder: str) -> Box:
        uid, config = self.choice.uid, self.config
        if uid is not None:
            for name in ("venv", "scratch"):
                os.chown(f"{folder}/{name}", uid, uid)
        if self.choice.kind == "bwrap":
            etc.prepare(config.data, uid)
        shown = prefixes(os.path.realpath(self.job.python))
        for name in PATHS:
            value = str((self.job.environment.get("pip") or {}).get(name, ""))
            shown += [part.removeprefix("file://") for part in value.split()]
        outside = (*SYSTEM_DIRS, "/etc", "/proc", "/dev", "/tmp")  # noqa: S108
        readable = [
            path
            for path in shown
            if path.startswith("/") and not any(f"{path}/".startswith(f"{o}/") for o in outside)
        ]
        return Box(
            work=f"{folder}/scratch",
            tmp=f"{folder}/scratch",
            writable=(f"{folder}/venv", f"{folder}/scratch"),
            readable=tuple(readable),
            uid=uid,
            network=True,
            hidden=config.data,
            etc=etc.folder(config.data),
        )

    def _variables(self, pip: Mapping[str, str], folder: str, tmp: str) -> dict[str, str]:
        env = {
            "PATH": launch.SYSTEM_PATH,
            "HOME": tmp,
            "TMPDIR": tmp,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_INPUT": "1",
            "PIP_PROGRESS_BAR": "off",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        env |= {name: str(value) for name, value in pip.items()}
        if "PIP_CONFIG_FILE" in pip:
            try:
                with open(pip["PIP_CONFIG_FILE"], encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError):
                raise BuildFailed("The operator's pip configuration cannot be read.") from None
            self._put(f"{folder}/pip.conf", text)
            self._secrets.update(_SECRET.findall(text))
            env["PIP_CONFIG_FILE"] = f"{tmp}/pip.conf"
        for value in env.values():
            self._secrets.update(_SECRET.findall(value))
        return env

    def _put(self, path: str, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            if self.choice.uid is not None:
                os.fchown(file.fileno(), self.choice.uid, self.choice.uid)

    def _step(self, command: list[str], box: Box, env: Mapping[str, str], folder: str) -> None:
        """Run one program of the build to its end. Raises BuildFailed, Interrupted."""
        limits = {**self.job.limits, "log_bytes": 0}
        limits["disk_bytes"] = int(self.job.environment.get("max_bytes") or 0)
        in_namespace = self.choice.kind == "bwrap"
        group = create(self.config.groups, self.job.attempt_id, limits, in_namespace)
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            out = (write, write)
            spawned = launch.start(
                self.config.host, self.choice, box, command, env, out, group, limits
            )
            os.close(write)
            write = -1
            self._follow(read, spawned.pidfd, folder, limits["disk_bytes"])
            end = report.exit_of(os.waitpid(spawned.pid, 0)[1], spawned.wrapped)
            killed = group.oom_kills()
        finally:
            if write >= 0:
                os.close(write)
            group.kill()
            end_children()
            group.remove()
            os.close(read)
        if killed:
            raise BuildFailed(f"The build of the environment: {report.memory(limits, None)}")
        if end.code != 0:
            raise BuildFailed(self._why())

    def _follow(self, read: int, pidfd: int, folder: str, max_bytes: int) -> None:
        """Say what the program prints until it has ended."""
        poller = select.poll()
        poller.register(read, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        rest, look = b"", monotonic() + 1
        while True:
            ready = {fd for fd, _ in poller.poll(TICK_S * 1000)}
            if read in ready:
                data = os.read(read, 65536)
                if not data:
                    poller.unregister(read)
                rest = self._lines(rest + data)
            elif pidfd in ready:
                self._lines(rest + b"\n")
                return
            if not self.go_on():
                raise Interrupted
            now = monotonic()
            if now > self._until:
                limit = float(self.job.environment.get("build_s") or 0)
                raise BuildFailed(
                    f"The environment was not built within {report.duration(int(limit * 1000))};"
                    " name fewer packages, or exact versions that need no search."
                )
            if max_bytes and now > look:
                used = environments.size_of(folder)
                look = monotonic() + max(1.0, (monotonic() - now) * 20)
                if used > max_bytes:
                    raise BuildFailed(
                        f"The environment has reached {report.size(used)}; the limit is"
                        f" {report.size(max_bytes)}. Name fewer packages."
                    )

    def _lines(self, data: bytes) -> bytes:
        """Say the whole lines; return what is left. Nothing of it can hurt who reads it."""
        *lines, rest = data.split(b"\n")
        for raw in lines:
            text = self._clean(raw[:MAX_LINE].decode("utf-8", "replace"))
            if not text.strip():
                continue
            self._tail = [*self._tail[-19:], text]
            if self._said < MAX_OUTPUT:
                self.say(text)
            elif self._said < 2 * MAX_OUTPUT:
                self.say("(The rest of the build's output is left out.)")
                self._said = 2 * MAX_OUTPUT
            self._said += len(text)
        return rest[-MAX_LINE:]

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _LOGIN.sub("://***@", text)
        return "".join(c if c.isprintable() else " " for c in text).rstrip()

    def _why(self) -> str:
        errors = [line for line in self._tail if line.startswith("ERROR:")] or self._tail[-3:]
        why = " ".join(line.removeprefix("ERROR:").strip() for line in errors)[-MAX_MESSAGE:]
        return f"The environment could not be built: {why or 'pip ended without a word'}"


def prepare(
    config: Config, choice: Choice, job: Assignment, say: Callable[[str], None],
    go_on: Callable[[], bool],
) -> tuple[Assignment, int | None]:  # fmt: skip
    """Return the Assignment with the interpreter it asked for, and the lock that keeps it there.

    Raises:
        BuildFailed: it cannot be had. Interrupted: ``go_on`` said no.
    """
    asked = job.environment
    kind, root = str(asked.get("kind", "default")), f"{config.data}/environments"
    account, framework = str(asked.get("account") or ""), asked.get("framework") or {}
    held: environments.Held | None = None
    if kind == "requirements":
        builder = Builder(config, choice, job, say, go_on)
        text, sdists = str(asked.get("value") or ""), bool(asked.get("sdists"))
        key = environments.key_of(job.python, text, sdists)
        held = environments.hold(root, key, account, builder.build, go_on)
    elif kind != "default":
        image = "Container images need podman or docker on this machine, and neither is set up"
        what = image if kind == "image" else f"The environment kind {kind!r} is unknown"
        raise BuildFailed(f"{what}; use the default environment, or a requirements file.")
    elif framework.get("package") and not asked.get("mapped"):
        held = environments.find(root, account, str(framework["package"]))
        if held is not None:
            say(f"Environment: the one of yours with {framework['package']!r} that was used last.")
    if held is None:
        return job, None
    return replace(job, python=held.python), held.lock
