"""Finding and pulling a job's image: which engine, which login, which digest, and why not.

Nothing here is billed: it happens before the user's process starts. Errors name what to do, carry
the engine's last line at most, and never a login.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainshed.runner.launch import SYSTEM_PATH, StartFailed
from trainshed.runner.sandboxes import docker, podman
from trainshed.runner.sandboxes.container import Engine
from trainshed.runner.system import monotonic
from trainshed.runner.workspace import Interrupted

LOOK_S, PULL_S, TICK_S = 60.0, 3600.0, 0.1
MAX_REASON = 300
HUB_LOGIN = "https://index.docker.io/v1/"
_HYBRID = "/sys/fs/cgroup/unified"
_REFUSED = ("unauthorized", "authentication required", "denied", "forbidden", "invalid username")
_ABSENT = ("manifest unknown", "not found", "name unknown", "does not exist", "no such image")
_UNKNOWN = ("not known", "no such image", "not found", "no such object", "unable to find")
_USERINFO = re.compile(r"//[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Found:
    """An image that is on this machine. ``digest`` names the same content for later Attempts."""

    id: str
    digest: str
    env: Mapping[str, str]


def find_engine(asked: str, env: Mapping[str, str], folder: str, image: str) -> Engine:
    """Return podman if it is there, else docker, or the one that was asked for.

    ``env``: what the operator's environment says to engines. ``folder``: a private one for logins.

    Raises:
        StartFailed: naming what to install.
    """
    names = ("podman", "docker") if asked not in ("podman", "docker") else (asked,)
    for name in names:
        program = shutil.which(name, path=SYSTEM_PATH)
        if program is not None:
            passed = {"PATH": SYSTEM_PATH, **env}
            return Engine(name, program, passed, _options(name, folder))
    raise StartFailed(
        f"The image {image!r} needs a container engine, and there is no {' or '.join(names)} on"
        " this machine. Install podman (apt-get install podman), or let the operator map the image"
        " to a local environment.",
        "environment",
    )


def _options(kind: str, folder: str) -> tuple[str, ...]:
    if kind == "docker":
        return docker.options(folder)
    runc = shutil.which("runc", path=SYSTEM_PATH) is not None
    return podman.options(os.path.isdir(_HYBRID), os.getuid() == 0, runc)


class Images:
    """The images of one engine, for one Attempt. ``go_on`` is asked while something takes long."""

    def __init__(
        self, engine: Engine, folder: str, say: Callable[[str], None], go_on: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._say = say
        self._go_on = go_on
        self._secrets: list[str] = []

    def get(self, asked: Mapping[str, Any]) -> Found:
        """Return the image of ``Assignment.container``, pulled if that is wanted.

        Raises:
            StartFailed: it is not to be had; the text says why. Interrupted: ``go_on`` said no.
        """
        name, digest = str(asked["name"]), str(asked.get("digest") or "")
        reference = f"{name}@{digest}" if digest else str(asked["reference"])
        pull, local = str(asked.get("pull") or "missing"), name.startswith("localhost/")
        found = self._look(name, reference, digest)
        if found is not None and (pull != "always" or local):
            return found
        if local or pull == "never":
            raise StartFailed(_not_here(self._engine, reference, local), "environment")
        self._pull(reference, asked.get("credentials"))
        found = self._look(name, reference, digest)
        if found is None:
            text = f"The image {reference} was pulled but is not there."
            raise StartFailed(text, "environment")
        return found

    def _look(self, name: str, reference: str, digest: str) -> Found | None:
        for one in (reference, *([digest] * bool(digest))):
            code, out, err = self._call(["image", "inspect", one], LOOK_S)
            with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
                return _found(json.loads(out)[0], name, digest) if code == 0 else None
            if not any(word in err.lower() for word in _UNKNOWN):
                raise StartFailed(f"{self._engine.kind} does not work here: {self._clean(err)}")
        return None

    def _pull(self, reference: str, login: Any) -> None:
        self._say(f"Pulling the image {reference}.")
        self._write_logins(login if isinstance(login, dict) else None)
        try:
            kind, engine = self._engine.kind, self._engine
            args = (
                podman.pull(engine, reference, self._folder)
                if kind == "podman"
                else docker.pull(engine, reference)
            )
            code, _, err = self._run(args, PULL_S)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        if code != 0:
            raise _explained(reference, self._clean(err))

    def _write_logins(self, login: Mapping[str, Any] | None) -> None:
        """Write the engine's login file, 0600 in a folder of its own: only this account's login,
        never the operator's.
        """
        auths = {}
        if login is not None:
            user, password = str(login["username"]), str(login["password"])
            packed = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._secrets = [password, packed]
            registry = str(login["registry"])
            hub = registry == "docker.io" and self._engine.kind == "docker"
            auths[HUB_LOGIN if hub else registry] = {"auth": packed}
        shutil.rmtree(self._folder, ignore_errors=True)
        os.mkdir(self._folder, 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(f"{self._folder}/config.json", flags, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump({"auths": auths}, file)

    def _call(self, words: list[str], limit_s: float) -> tuple[int, str, str]:
        return self._run(self._engine.call(*words), limit_s)

    def _run(self, args: list[str], limit_s: float) -> tuple[int, str, str]:
        """Return exit code, output and errors. Raises StartFailed or Interrupted."""
        try:
            process = subprocess.Popen(
                args, env=dict(self._engine.env), stdin=subprocess.DEVNULL, cwd="/",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise StartFailed(f"{args[0]} cannot be started: {error.strerror}.") from error
        end = monotonic() + limit_s
        with process:
            while True:
                try:
                    out, err = process.communicate(timeout=TICK_S)
                    texts = [part.decode("utf-8", "replace") for part in (out, err)]
                    return process.returncode, texts[0], texts[1]
                except subprocess.TimeoutExpired:
                    if not self._go_on():
                        process.kill()
                        raise Interrupted from None
                    if monotonic() > end:
                        process.kill()
                        text = f"{self._engine.kind} took longer than {limit_s:g} s"
                        raise StartFailed(f"{text}; try again later.") from None

    def _clean(self, text: str) -> str:
        return last_line(text, self._secrets)


def last_line(text: str, secrets: list[str]) -> str:
    """Return the last line that an engine wrote, short, printable and without secrets."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = _USERINFO.sub("//", lines[-1] if lines else "it said nothing")
    for secret in secrets:
        found = found.replace(secret, "…") if secret else found
    found = "".join(c if c.isprintable() else " " for c in found)
    return found if len(found) <= MAX_REASON else f"{found[:MAX_REASON]}…"


def _found(data: Mapping[str, Any], name: str, pinned: str) -> Found:
    plain = str(data["Id"]).removeprefix("sha256:")
    digests = [str(one) for one in data.get("RepoDigests") or []]
    own = [one.partition("@")[2] for one in digests if one.partition("@")[0] == name]
    digest = pinned or str(data.get("Digest") or "") or next(iter(own), f"sha256:{plain}")
    config = data.get("Config") or {}
    pairs = [str(one).partition("=") for one in config.get("Env") or []]
    return Found(plain, digest, {key: value for key, _, value in pairs})


def _not_here(engine: Engine, reference: str, local: bool) -> str:
    why = (
        f"names that begin with localhost/ are only ever on the machine itself: build or tag it"
        f" with {engine.kind} there"
        if local
        else "this server never pulls (image_pull is 'never')"
    )
    return f"The image {reference} is not on this machine, and {why}."


def _explained(reference: str, why: str) -> StartFailed:
    """Return the error of a pull. What another try may mend is not called permanent."""
    low = why.lower()
    registry = reference.partition("/")[0]
    if any(word in low for word in _REFUSED):
        text = f"{registry} refused to give the image {reference}; store a login for it"
        return StartFailed(f"{text} (PUT /v1/registries), or check it: {why}", _ENV)
    if any(word in low for word in _ABSENT):
        return StartFailed(f"There is no image {reference} at {registry}: {why}", _ENV)
    return StartFailed(f"The image {reference} could not be pulled from {registry}: {why}")


_ENV = "environment"
