"""A network of the job's own that leads out, and nowhere else (D17).

A network namespace whose only way out is slirp4netns: the Internet, but not this host, its
neighbours, or the metadata service of a cloud. The job has no right over the namespace, so the
routes that say so stay. Its own API it reaches by ``relay``.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from trainshed.runner.sandboxes import Choice, Host
from trainshed.runner.system import enter_network, new_network, read_text

T = TypeVar("T")

READY_S = 10.0
MTU = 65_520
#: The namespace's own addresses: a range for documentation, so that it hides no real one.
CIDR, RESOLVER = "192.0.2.0/24", "192.0.2.3"
#: Private, shared, link-local, reserved and multicast: whatever is not the Internet.
BLOCKED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
    "240.0.0.0/4",
)  # fmt: skip
#: slirp4netns shuts itself in by unmounting what it sees, and what is mounted below a shared mount
#: would go with it for everybody: podman's namespaces in /run/netns for one.
_ALONE = ("--mount", "--propagation", "slave", "--")
_SYSCTLS = ("all/disable_ipv6", "default/disable_ipv6")
_LOCAL = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


class NotBuilt(Exception):
    """The network cannot be made here; the text says why."""


@dataclass(slots=True)
class Egress:
    """One namespace, kept by ``fd``, and its slirp4netns, which ends when ``leash`` is closed."""

    fd: int
    home: int
    leash: int
    slirp: subprocess.Popen[bytes]

    def enter(self) -> None:
        """Move the calling thread in: what it starts next is born inside. Raises OSError."""
        enter_network(self.fd)

    def leave(self) -> None:
        """Move the calling thread back. Raises OSError."""
        enter_network(self.home)

    def inside(self, body: Callable[[], T]) -> T:
        """Return what ``body`` returns when it is called on a thread in the namespace."""
        return _on_thread(self.fd, body)

    def end(self) -> None:
        """End the way out; the namespace goes with its last process."""
        for fd in (self.leash, self.fd, self.home):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.slirp.kill()
        self.slirp.wait()


def build(host: Host, choice: Choice) -> Egress:
    """Make the network.

    Raises:
        NotBuilt: this machine cannot, saying what is missing.
    """
    if not host.root or choice.kind not in ("bwrap", "container"):
        raise NotBuilt("it needs root, and bubblewrap or podman")
    parts = ((host.slirp, "slirp4netns"), (host.ip, "ip (iproute2)"), (host.unshare, "unshare"))
    for found, name in parts:
        if found is None:
            raise NotBuilt(f"{name} is not installed")
    assert host.slirp
    assert host.ip
    assert host.unshare
    ip, own = host.ip, _LOCAL.findall(read_text("/proc/net/fib_trie"))
    try:
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        fd = _on_thread(None, lambda: _furnish(ip, own))
        return _open_way_out([host.unshare, *_ALONE, host.slirp], fd, home)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotBuilt(str(error)) from error


def _furnish(ip: str, own: list[str]) -> int:
    """Close every way that must stay closed, before there is any; return the namespace."""
    for name in _SYSCTLS:
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{name}", "w") as file:
            file.write("1")
    closed = [*BLOCKED, *(f"{one}/32" for one in own if not one.startswith("127."))]
    lines = ["link set lo up", *(f"route replace unreachable {one}" for one in closed)]
    text = "\n".join(lines).encode() + b"\n"
    done = subprocess.run(
        [ip, "-batch", "-"], input=text, env={}, capture_output=True, timeout=READY_S, check=False
    )
    if done.returncode != 0:
        raise OSError(f"ip: {done.stderr.decode('utf-8', 'replace').strip()[-200:]}")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _open_way_out(slirp: list[str], fd: int, home: int) -> Egress:
    ready, tell = os.pipe2(os.O_CLOEXEC)
    hold, leash = os.pipe2(os.O_CLOEXEC)
    args = [
        *slirp, "--configure", f"--mtu={MTU}", f"--cidr={CIDR}", "--disable-host-loopback",
        "--enable-sandbox", "--enable-seccomp", f"--ready-fd={tell}", f"--exit-fd={hold}",
        "--netns-type=path", f"/proc/{os.getpid()}/fd/{fd}", "tap0",
    ]  # fmt: skip
    process = subprocess.Popen(
        args, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, pass_fds=(tell, hold), start_new_session=True,
    )  # fmt: skip
    os.close(tell)
    os.close(hold)
    egress = Egress(fd, home, leash, process)
    timer = threading.Timer(READY_S, process.kill)
    timer.start()
    try:
        if os.read(ready, 1) == b"1":
            return egress
    finally:
        timer.cancel()
        os.close(ready)
    egress.end()
    assert process.stderr is not None
    why = process.stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    raise OSError(f"slirp4netns: {' '.join(why)[:200]}")


def _on_thread(fd: int | None, body: Callable[[], T]) -> T:
    """Call ``body`` on a thread in the namespace of ``fd``, or in a new one: threads differ."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            new_network() if fd is None else enter_network(fd)
            found.append(body())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="network")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
