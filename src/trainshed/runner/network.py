"""The network a job gets: the host's, one that leads out only, or none; said as it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainshed.runner import egress
from trainshed.runner.config import Config
from trainshed.runner.egress import Egress
from trainshed.runner.launch import StartFailed
from trainshed.runner.relay import Relay
from trainshed.runner.sandboxes import Choice, bare
from trainshed.wire.v1 import Assignment

_OPEN = "without bubblewrap or root no network can be kept from a job on this machine"


@dataclass(slots=True)
class Network:
    """``kind``: host, egress or none. ``resolv``: what the job sees as resolv.conf, or "".

    ``api_url``: where the job finds its own API.
    """

    kind: str = "none"
    api_url: str = ""
    resolv: str = ""
    egress: Egress | None = None
    relay: Relay | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What the calling thread starts meanwhile is born in this network. Raises OSError."""
        if self.egress is None:
            yield
            return
        self.egress.enter()
        try:
            yield
        finally:
            self.egress.leave()

    @property
    def path(self) -> str:
        """Where another program finds the namespace while this one lives, or ""."""
        return "" if self.egress is None else f"/proc/{os.getpid()}/fd/{self.egress.fd}"

    @property
    def pids(self) -> set[int]:
        """Helpers beside the job, which must not be taken for processes of its own."""
        return set() if self.egress is None else {self.egress.slirp.pid}

    def end(self) -> None:
        """End the helpers; twice is fine."""
        if self.relay is not None:
            self.relay.end()
        if self.egress is not None:
            self.egress.end()
        self.relay = self.egress = None


def build(config: Config, choice: Choice, job: Assignment, say: Callable[[str], None]) -> Network:
    """Return the network that the Assignment asks for, or none, saying why.

    Raises:
        StartFailed: none is asked for and cannot be kept from the job here.
    """
    asked = str(job.sandbox.get("network") or "host")
    if asked == "host":
        return Network("host", job.api_url)
    closes = choice.kind == "bwrap" or bare.closes_network(config.host)
    if asked != "egress":
        if not closes:
            raise StartFailed(f"This job must have no network, and {_OPEN}.")
        return Network("none", job.api_url)
    try:
        return _leading_out(config, choice, job, say)
    except egress.NotBuilt as error:
        if not closes:
            say(f"Network: host; {_OPEN}.")
            return Network("host", job.api_url)
        say(f"Network: none; egress cannot be built on this machine: {error}.")
        return Network("none", job.api_url)


def of_container(
    config: Config, engine: str, choice: Choice, job: Assignment, say: Callable[[str], None]
) -> Network:
    """Return the network of a container, saying when it is less than was asked for.

    Of the ``engine``s podman alone starts a container in a namespace that somebody else made.
    """
    asked = str(job.sandbox.get("network") or "host")
    if asked != "egress":
        return Network("host" if asked == "host" else "none", job.api_url)
    try:
        if engine != "podman":
            raise egress.NotBuilt(f"{engine} cannot join a namespace of ours; podman can")
        return _leading_out(config, choice, job, say)
    except egress.NotBuilt as error:
        say(f"Network: none; egress cannot be built on this machine: {error}.")
        return Network("none", job.api_url)


def _leading_out(
    config: Config, choice: Choice, job: Assignment, say: Callable[[str], None]
) -> Network:
    """Raises NotBuilt."""
    out = egress.build(config.host, choice)
    relay = Relay(out, job.api_url, job.job_token) if job.api_url else None
    say("Network: egress; the Internet and this job's own API, no private addresses.")
    url = job.api_url if relay is None else relay.url
    return Network("egress", url, _resolv(config.data), out, relay)


def _resolv(data: str) -> str:
    """Return the file that names the network's own resolver."""
    path = f"{data}/run/resolv.conf"
    if not os.path.exists(path):
        part = f"{path}.{os.getpid()}"
        with open(part, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(f"nameserver {egress.RESOLVER}\n")
        os.rename(part, path)
    return path
