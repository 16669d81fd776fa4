"""A small HTTP/1.1 client over a Unix socket or TCP: one kept-alive connection, no buffering of
bodies.

``http.client`` parses headers with the e-mail package; this costs a tenth of it, and a runner makes
few, small requests that the same project answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from trainshed.wire import v1

TIMEOUT_S = 30.0
BLOCK = 256 * 1024
MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
FIRST_WAIT_S, MOST_WAIT_S = 0.05, 5.0


class Silent(Exception):
    """No usable answer: the server is away or overloaded. Try again."""


class Broken(Silent):
    """The answer's body broke off: the server went away, or what it sends is damaged."""


class Stale(Exception):
    """The token is not (or no longer) this Attempt's: end the process tree and say nothing."""


class Abandoned(Exception):
    """The caller's ``until`` said to stop trying."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its status and its (JSON or raw) body."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object, or an empty dict if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def stale(self) -> bool:
        """Whether it says that the lease is gone."""
        if self.status == 409:
            return self.json().get("code") not in ("offset_mismatch", "digest_conflict")
        return self.status == 401


def connect_unix(path: str, timeout: float | None) -> socket.socket:
    """Return a connection; a path beyond the 107 bytes of sun_path goes through its directory."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.settimeout(timeout)
        if len(os.fsencode(path)) <= 107:
            one.connect(path)
            return one
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            one.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)
        return one
    except OSError:
        one.close()
        raise


class Client:
    """One connection to the server for one Attempt. Not thread-safe: one per thread."""

    def __init__(self, api_url: str, attempt_id: str, token: str) -> None:
        self._url = api_url
        self._attempt = (attempt_id, token)
        self._base = f"{v1.PREFIX}/{attempt_id}"
        self._unix = api_url[5:] if api_url.startswith("unix:") else None
        parts = urlsplit(api_url)
        self._tls = parts.scheme == "https"
        self._host = "localhost" if self._unix else (parts.hostname or "")
        self._port = 0 if self._unix else (parts.port or (443 if self._tls else 80))
        if not self._unix:
            self._base = parts.path.rstrip("/") + self._base
        self._head = f"Host: {self._host}\r\nAuthorization: Bearer {token}\r\n"
        self._socket: socket.socket | None = None
        self._rest = b""

    def again(self) -> Client:
        """Return a client for the same Attempt with a connection of its own."""
        return Client(self._url, *self._attempt)

    def close(self) -> None:
        """Drop the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket, self._rest = None, b""

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Send a request whose answer ``receive`` takes later; errors show up there.

        ``body``: None, bytes, or anything JSON.
        """
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        with contextlib.suppress(OSError):
            self._open(TIMEOUT_S).sendall(self._request(method, path, len(data)) + data)
            return
        self.close()

    def receive(self) -> Answer:
        """Return the answer to the last ``send``. Raises Silent."""
        try:
            status, length = self._read_head()
            return Answer(status, b"".join(self._read_body(length, MAX_BODY)))
        except (OSError, ValueError) as error:
            self.close()
            raise self._silence(error) from error

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        until: Callable[[], bool] | None = None,
    ) -> Answer:
        """Return the answer; no answer and 5xx are tried again for as long as it takes.

        Raises:
            Stale: 401 or 409 stale_lease.
            Abandoned: ``until`` came true between two tries.
        """

        def once() -> Answer:
            self.send(method, path, body)
            return self.receive()

        return persist(once, until)

    def _silence(self, error: Exception, kind: type[Silent] = Silent) -> Exception:
        """Return what no answer means: a server that is away, or one that is never coming back.

        With the folder of a local server's socket the workspace is gone too, and nobody is left
        to tell: the Attempt ends instead of knocking for ever.
        """
        if self._unix is not None and not os.path.isdir(os.path.dirname(self._unix)):
            return Stale("the data directory is gone")
        return kind(str(error))

    def download(self, path: str, into: BinaryIO, update: Callable[[bytes], object]) -> int:
        """Stream an answer's body into a file; return the status. Raises Silent or Broken."""
        self.send("GET", path)
        why = Silent
        try:
            status, length = self._read_head()
            why = Broken if status == 200 else Silent
            for part in self._read_body(length, None):
                if status == 200:
                    into.write(part)
                    update(part)
            return status
        except (OSError, ValueError) as error:
            self.close()
            raise self._silence(error, why) from error

    def upload(self, path: str, fd: int, size: int) -> Answer:
        """PUT the first ``size`` bytes of an open file, never holding it in memory.

        Raises:
            Silent: no answer.
            Changed: the file became shorter meanwhile.
        """
        try:
            link = self._open(TIMEOUT_S)
            link.sendall(self._request("PUT", path, size))
            at = 0
            while at < size:
                part = os.pread(fd, min(BLOCK, size - at), at)
                if not part:
                    self.close()
                    raise Changed
                link.sendall(part)
                at += len(part)
        except OSError as error:
            answer = self._early()
            self.close()
            if answer is not None:
                return answer
            raise self._silence(error) from error
        return self.receive()

    def _early(self) -> Answer | None:
        """Return a refusal that came before the whole body was sent, if there is one."""
        if self._socket is None:
            return None
        try:
            self._socket.settimeout(1.0)
            return self.receive()
        except (Silent, OSError):
            return None

    def _request(self, method: str, path: str, length: int) -> bytes:
        line = f"{method} {self._base}/{path} HTTP/1.1\r\n"
        return f"{line}{self._head}Content-Length: {length}\r\n\r\n".encode("ascii")

    def _open(self, timeout: float) -> socket.socket:
        if self._socket is None:
            if self._unix is not None:
                self._socket = connect_unix(self._unix, timeout)
            else:
                self._socket = self._tcp(timeout)
            self._rest = b""
        return self._socket

    def _tcp(self, timeout: float) -> socket.socket:
        link = socket.create_connection((self._host, self._port), timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._tls:
            return link
        return ssl.create_default_context().wrap_socket(link, server_hostname=self._host)

    def _read_head(self) -> tuple[int, int | None]:
        """Return status and content length; None for chunked."""
        if self._socket is None:
            raise ConnectionError("no connection")
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            part = self._socket.recv(65536)
            if not part or len(data) > MAX_HEAD:
                raise ConnectionError("the connection closed")
            data += part
        self._rest = data[end + 4 :]
        lines = data[:end].lower().split(b"\r\n")
        status, length = int(lines[0].split(b" ", 2)[1]), 0
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding" and b"chunked" in value:
                return status, None
        return status, length

    def _read_body(self, length: int | None, limit: int | None) -> Iterator[bytes]:
        if length is not None:
            if limit is not None and length > limit:
                raise ValueError("the answer is too large")
            yield from self._exactly(length)
            return
        while size := int(self._line().split(b";")[0], 16):
            yield from self._exactly(size)
            self._line()
        while self._line():
            pass

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length > 0:
            part = self._rest or self._more()
            self._rest = part[length:]
            part = part[:length]
            length -= len(part)
            yield part

    def _line(self) -> bytes:
        while (end := self._rest.find(b"\r\n")) < 0:
            self._rest += self._more()
        line, self._rest = self._rest[:end], self._rest[end + 2 :]
        return line

    def _more(self) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(BLOCK)
        if not part:
            raise ConnectionError("the connection closed in the middle of an answer")
        return part


class Changed(Exception):
    """A file changed while it was read."""


def persist(once: Callable[[], Answer], until: Callable[[], bool] | None = None) -> Answer:
    """Call ``once`` until it answers with something else than "not now", with jittered back-off.

    Raises:
        Stale: the answer says that the lease is gone.
        Abandoned: ``until`` came true.
    """
    wait = FIRST_WAIT_S
    while True:
        with contextlib.suppress(Silent):
            answer = once()
            if answer.stale:
                raise Stale(answer.body[:200].decode("utf-8", "replace"))
            if answer.status not in RETRY_STATUS:
                return answer
        if until is not None and until():
            raise Abandoned
        time.sleep(wait * (0.5 + random.random()))
        wait = min(wait * 1.7, MOST_WAIT_S)
