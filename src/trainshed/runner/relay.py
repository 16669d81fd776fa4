"""The job's own API inside its own network: one listener on its loopback, one token.

Each connection carries one request, below ``/v1/jobs/`` and with the job's token, and is closed
after its answer: nothing else of the server is reached this way, no login and no sign-up.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
import ssl
import threading
from urllib.parse import urlsplit

from trainshed.runner.egress import Egress

PREFIX = b"/v1/jobs/"
#: What is ours to say, or would be believed of a proxy on this machine.
DROPPED = (b"host", b"connection", b"forwarded", b"x-forwarded-", b"x-real-ip")
MAX_HEAD = 64 * 1024
MAX_BODY = 8 * 1024**2
MAX_LINKS = 16
IDLE_S = 60.0
BLOCK = 64 * 1024
_WHY = {401: b"Unauthorized", 404: b"Not Found", 413: b"Content Too Large", 502: b"Bad Gateway"}


class Refused(Exception):
    """A request that is not passed on; ``args[0]`` is the status."""


class Relay:
    """Serves until ``end``; ``url`` is what the job is told."""

    def __init__(self, egress: Egress, api_url: str, token: str) -> None:
        parts = urlsplit(api_url)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if self._tls else 80))
        self._host = parts.netloc.rpartition("@")[2].encode("ascii")
        self._token = token.encode()
        self._room = threading.BoundedSemaphore(MAX_LINKS)
        self._listener = egress.inside(_listen)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, name="relay", daemon=True).start()

    def end(self) -> None:
        """Take no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._room.acquire()
            threading.Thread(target=self._one, args=(link,), daemon=True).start()

    def _one(self, link: socket.socket) -> None:
        try:
            with link, contextlib.suppress(OSError):
                link.settimeout(IDLE_S)
                try:
                    self._pass_on(link)
                except Refused as error:
                    status = error.args[0]
                    head = b"HTTP/1.1 %d %s\r\n" % (status, _WHY[status])
                    link.sendall(head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            self._room.release()

    def _pass_on(self, link: socket.socket) -> None:
        head, rest = _head(link)
        first, headers = _parsed(head)
        length = self._checked(first, headers)
        if length > MAX_BODY or len(rest) > length:
            raise Refused(413)
        kept = [(n, v) for n, v in headers if not n.startswith(DROPPED)]
        lines = [first, b"Host: " + self._host, b"Connection: close"]
        lines += [name + b": " + value for name, value in kept]
        with self._connected() as server:
            server.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
            left = length - len(rest)
            while left > 0 and (part := link.recv(min(left, BLOCK))):
                server.sendall(part)
                left -= len(part)
            while part := server.recv(BLOCK):
                link.sendall(part)

    def _checked(self, first: bytes, headers: list[tuple[bytes, bytes]]) -> int:
        """Return the length of the body of a request that may pass. Raises Refused."""
        words = first.split(b" ")
        if len(words) != 3 or not words[1].startswith(PREFIX) or b".." in words[1]:
            raise Refused(404)
        given = [v for n, v in headers if n == b"authorization"]
        whole = b"Bearer " + self._token
        if len(given) != 1 or not hmac.compare_digest(given[0], whole):
            raise Refused(401)
        lengths = [v for n, v in headers if n == b"content-length"]
        chunked = any(n == b"transfer-encoding" for n, _ in headers)
        if chunked or len(lengths) > 1 or not all(v.isdigit() and len(v) < 12 for v in lengths):
            raise Refused(413)
        return int(lengths[0]) if lengths else 0

    def _connected(self) -> socket.socket:
        try:
            server = socket.create_connection(self._address, IDLE_S)
            if self._tls:
                context = ssl.create_default_context()
                return context.wrap_socket(server, server_hostname=self._address[0])
            return server
        except OSError as error:
            raise Refused(502) from error


def _listen() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("127.0.0.1", 0))
    one.listen(MAX_LINKS)
    return one


def _head(link: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        part = link.recv(BLOCK)
        if not part or len(data) > MAX_HEAD:
            raise Refused(413)
        data += part
    return data[:end], data[end + 4 :]


def _parsed(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    first, *lines = head.split(b"\r\n")
    if b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b""):
        raise Refused(404)
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name != name.strip() or not name:
            raise Refused(404)
        headers.append((name.lower(), value.strip()))
    return first, headers
