"""A small world for test_runner_egress: run by ``unshare --net --mount python -m``.

    the runner's namespace ("the host")          "the Internet", at the other end of a veth pair
    203.0.113.2    on the veth                    203.0.113.1   a web server and a name server
    10.77.0.1, 169.254.169.254, 127.0.0.1         10.77.0.9     a neighbour with a private address

Prints what jobs saw as one JSON object. Nothing of the real host's network is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.runner_shed import Shed, kill, marked, shed, wait_for
from tests.unit.runner.fake_server import UID, Attempt

PUBLIC, HOST, NEIGHBOUR = "203.0.113.1", "203.0.113.2", "10.77.0.9"
PRIVATE, METADATA = "10.77.0.1", "169.254.169.254"
PORT = 8123
MODULE = "tests.integration.egress_world"

PROBE = """
import json, os, socket, subprocess, sys, urllib.error, urllib.request
def reach(address):
    try:
        with socket.create_connection((address, PORT), 3) as link: return link.recv(64).decode()
    except OSError as error: return type(error).__name__
def ask(path, **headers):
    url = os.environ["TRAINSHED_API_URL"] + path
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer: return answer.read().decode()
    except urllib.error.HTTPError as error: return error.code
    except OSError as error: return str(error)
def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True).returncode
def resolved():
    try: return socket.gethostbyname("shop.example")
    except OSError as error: return type(error).__name__
routes = [
    ip("route", "del", "unreachable", "10.0.0.0/8"), ip("addr", "add", "10.5.5.5", "dev", "lo"),
]
token = "Bearer " + os.environ["TRAINSHED_TOKEN"]
found = {
    "reach": {address: reach(address) for address in sys.argv[1:]},
    "routes": routes, "resolved": resolved(),
    "own": ask("/v1/jobs/me", Authorization=token), "no_token": ask("/v1/jobs/me"),
    "wrong": ask("/v1/jobs/me", Authorization="Bearer x"),
    "elsewhere": ask("/jobs", Authorization=token),
    "ipv6": open("/proc/net/if_inet6").read() if os.path.exists("/proc/net/if_inet6") else "",
}
print(json.dumps(found))
"""


def ip(*words: str, inside: int | None = None) -> None:
    enter = [] if inside is None else ["nsenter", f"--net=/proc/{inside}/ns/net"]
    subprocess.run([*enter, "ip", *words], check=True)


@contextlib.contextmanager
def world() -> Iterator[None]:
    """The two namespaces, and a listener on every address."""
    ip("link", "set", "lo", "up")
    other = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-m", MODULE, "internet"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdout.readline()
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(other.pid))
    for name, address in (("v0", f"{HOST}/24"), ("v0", "10.77.0.1/24"), ("lo", f"{METADATA}/32")):
        ip("addr", "add", address, "dev", name)
    ip("link", "set", "v0", "up")
    for address in (f"{PUBLIC}/24", f"{NEIGHBOUR}/24"):
        ip("addr", "add", address, "dev", "v1", inside=other.pid)
    ip("link", "set", "lo", "up", inside=other.pid)
    ip("link", "set", "v1", "up", inside=other.pid)
    ip("route", "add", "default", "via", PUBLIC)
    other.stdin.write("serve\n")
    other.stdin.flush()
    other.stdout.readline()
    try:
        yield
    finally:
        other.stdin.close()
        other.wait(10)


def greet(text: str) -> None:
    """Say ``text`` to whoever connects, on all addresses of this namespace."""
    listener = socket.create_server(("0.0.0.0", PORT))

    def serve() -> None:
        while True:
            link, _ = listener.accept()
            with link, contextlib.suppress(OSError):
                link.sendall(text.encode())

    threading.Thread(target=serve, daemon=True).start()


def internet() -> None:
    """The other namespace: greets, and answers every name with its own address."""
    print("here", flush=True)
    sys.stdin.readline()
    greet("internet")
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("0.0.0.0", 53))

    def answer() -> None:
        while True:
            query, who = names.recvfrom(2048)
            end = query.index(b"\0", 12) + 5
            wants_a = query[end - 4 : end - 2] == b"\0\x01"
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(PUBLIC)
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(wants_a), 0, 0)
            names.sendto(head + query[12:end] + (record if wants_a else b""), who)

    threading.Thread(target=answer, daemon=True).start()
    print("serving", flush=True)
    sys.stdin.read()


class Api(BaseHTTPRequestHandler):
    """Answers whatever is asked, so that a refusal can only be the relay's."""

    def do_GET(self) -> None:
        body = f"{self.command} {self.path} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def jobs(place: Shed, api_url: str) -> dict[str, Any]:
    """Run the probe in each network."""
    found: dict[str, Any] = {"api": api_url}
    where = [PUBLIC, HOST, PRIVATE, NEIGHBOUR, METADATA, "127.0.0.1", "192.0.2.2", "192.0.2.3"]
    for network in ("host", "egress", "none"):
        sandbox = {"kind": "auto", "uid": UID, "network": network, "minimum": "none"}
        attempt = place.launch(
            ["python", "-c", PROBE.replace("PORT", str(PORT)), *where],
            sandbox=sandbox,
            api_url=api_url,
            grace_s=60,
        )
        wait_for(lambda attempt=attempt: attempt.finished, 120)
        text = attempt.text()
        found[network] = json.loads(text) if text else attempt.text("stderr")
        found[network] |= {"started": attempt.started, "system": attempt.text("system")}
        wait_for(lambda attempt=attempt: place.gone(attempt), 20)
    with shared_mount() as inner:
        found["cancelled_after_s"], found["left"] = cancelled(place), ways_out()
        found["still_mounted"] = os.path.ismount(inner)
    attempt = sleeper(place)
    kill(place.handles[attempt.id]["pid"])
    wait_for(lambda: not ways_out(), 20)
    return found


@contextlib.contextmanager
def shared_mount() -> Iterator[str]:
    """A mount below a shared one, as podman keeps its network namespaces in /run/netns."""
    with tempfile.TemporaryDirectory() as folder:
        inner = f"{folder}/inner"
        os.mkdir(inner)
        steps = (["mount", "--bind", folder, folder], ["mount", "--make-shared", folder],
                 ["mount", "-t", "tmpfs", "none", inner])  # fmt: skip
        for step in steps:
            subprocess.run(step, check=True)
        assert os.path.ismount(inner)
        try:
            yield inner
        finally:
            subprocess.run(["umount", "--recursive", folder], check=True)


def sleeper(place: Shed) -> Attempt:
    """Return an Attempt that runs with a way out until it is ended."""
    sandbox = {"kind": "auto", "uid": UID, "network": "egress", "minimum": "none"}
    command = ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"]
    attempt = place.launch(command, sandbox=sandbox, grace_s=60)
    wait_for(lambda: attempt.text() == "up\n", 60)
    assert ways_out()
    return attempt


def cancelled(place: Shed) -> float:
    """Return how long a cancel takes: the helper beside the job must not cost its grace."""
    attempt = sleeper(place)
    began = time.monotonic()
    attempt.order = {"kind": "cancel"}
    wait_for(lambda: attempt.finished, 60)
    return time.monotonic() - began


def ways_out() -> list[int]:
    """Return the slirp4netns of this namespace."""
    own = os.stat("/proc/self/ns/net").st_ino
    return [pid for pid in marked("slirp4netns") if _namespace(pid) == own]


def _namespace(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    return 0


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".resolv") as resolv:
        resolv.write(f"nameserver {PUBLIC}\n")
        resolv.flush()
        subprocess.run(["mount", "--bind", resolv.name, "/etc/resolv.conf"], check=True)
    with world():
        greet("host")
        api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        with shed() as place:
            print(json.dumps(jobs(place, f"http://127.0.0.1:{api.server_port}")))


if __name__ == "__main__":
    internet() if "internet" in sys.argv else main()
    os._exit(0)
