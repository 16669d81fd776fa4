"""Where egress cannot be built the job has no network, and the reason is said."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from trainshed.runner.config import Config
from trainshed.runner.launch import StartFailed
from trainshed.runner.network import build
from trainshed.runner.relay import Relay
from trainshed.runner.sandboxes import Choice, Host
from trainshed.wire.v1 import Assignment

HOST = Host(
    True, "/usr/bin/bwrap", "/usr/bin/setpriv", None, True, slirp="/bin/false", ip="/bin/false"
)
STRONG, BARE = Choice("bwrap", "strong", 5), Choice("bare", "partial", 5)
JOB = Assignment(
    "att_1", "job_1", 1, "tok", ["true"], "/usr/bin/python3",
    sandbox={"network": "egress"}, api_url="http://127.0.0.1:9",
)  # fmt: skip


@pytest.mark.parametrize(
    ("host", "choice", "why"),
    [
        (replace(HOST, root=False), STRONG, "root"),
        (replace(HOST, unshare="/usr/bin/unshare"), BARE, "bubblewrap"),
        (replace(HOST, slirp=None), STRONG, "slirp4netns is not installed"),
        (replace(HOST, ip=None), STRONG, "iproute2"),
        (replace(HOST, unshare=None), STRONG, "unshare is not installed"),
        (replace(HOST, unshare="/bin/false"), STRONG, "ip: "),
    ],
)
def test_what_cannot_be_built_is_none(host: Host, choice: Choice, why: str) -> None:
    said: list[str] = []
    got = build(Config("/nowhere", "", "", host, ""), choice, JOB, said.append)
    assert (got.kind, got.egress, got.api_url) == ("none", None, JOB.api_url)
    assert said[0].startswith("Network: none;")
    assert why in said[0]


@pytest.mark.parametrize(
    "host",
    [
        HOST,
        replace(HOST, root=False, unshare="/usr/bin/unshare"),
        replace(HOST, setpriv=None, unshare="/usr/bin/unshare"),
    ],
)
def test_none_is_only_said_where_the_network_can_be_closed(host: Host) -> None:
    config, said = Config("/nowhere", "", "", host, ""), []
    assert build(config, BARE, JOB, said.append).kind == "host"
    assert said[0].startswith("Network: host;")
    with pytest.raises(StartFailed, match="must have no network"):
        build(config, BARE, replace(JOB, sandbox={"network": "none"}), said.append)


class Here:
    """Stands in for a namespace of its own: the relay listens in this one."""

    def inside(self, body: Callable[[], Any]) -> Any:
        return body()


@pytest.fixture
def relay() -> Iterator[tuple[Relay, list[bytes]]]:
    """A relay in front of a server that keeps what reaches it."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            with link:
                link.settimeout(0.3)
                data = b""
                try:
                    while part := link.recv(65536):
                        data += part
                except OSError:
                    pass
                heard.append(data)
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\nanswer")

    threading.Thread(target=serve, daemon=True).start()
    one = Relay(Here(), f"http://127.0.0.1:{server.getsockname()[1]}", "tok")  # type: ignore[arg-type]
    yield one, heard
    one.end()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def say(relay: Relay, data: bytes) -> bytes:
    port = int(relay.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(data)
        out = b""
        try:
            while part := link.recv(65536):
                out += part
        except ConnectionResetError:
            pass
        return out


GOOD = b"GET /v1/jobs/x HTTP/1.1\r\nHost: evil\r\nAuthorization: Bearer tok\r\n"


def test_one_request_passes_whole(relay: tuple[Relay, list[bytes]]) -> None:
    one, heard = relay
    body = b"x" * 70_000
    head = (
        GOOD.replace(b"GET", b"POST") + b"Content-Length: 70000\r\nConnection: keep-alive\r\n"
        b"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Host: evil\r\n\r\n"
    )
    assert say(one, head + body).endswith(b"answer")
    assert heard[0].startswith(b"POST /v1/jobs/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Connection: close\r\n" in heard[0]
    assert b"evil" not in heard[0]
    assert b"1.2.3.4" not in heard[0]
    assert heard[0].endswith(b"\r\n\r\n" + body)


SMUGGLED = b"GET /jobs HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /v1/jobs/x HTTP/1.1\r\n\r\n", 401),
        (GOOD.replace(b"tok", b"toc") + b"\r\n", 401),
        (GOOD + b"Authorization: Bearer tok\r\n\r\n", 401),
        (GOOD.replace(b"/v1/jobs/x", b"/jobs") + b"\r\n", 404),
        (GOOD.replace(b"/v1/jobs/x", b"/v1/jobs/../jobs") + b"\r\n", 404),
        (GOOD.replace(b"/v1/jobs/x", b"/v1/login") + b"\r\n", 404),
        (GOOD.replace(b"/v1/jobs/x", b"http://other/v1/") + b"\r\n", 404),
        (GOOD + b"\r\n" + SMUGGLED, 413),
        (GOOD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 413),
        (GOOD + b"Content-Length: 1\r\nContent-Length: 40\r\n\r\n", 413),
        (GOOD + b"Content-Length: -1\r\n\r\n", 413),
        (GOOD + b"Content-Length: 99999999\r\n\r\n", 413),
        (GOOD + b"X: a\n" + SMUGGLED + b"\r\n\r\n", 404),
        (GOOD + b" folded: x\r\n\r\n", 404),
    ],
)
def test_nothing_else_passes(relay: tuple[Relay, list[bytes]], data: bytes, status: int) -> None:
    one, heard = relay
    assert say(one, data).startswith(b"HTTP/1.1 %d " % status)
    assert heard == []
