"""The one thing that a closed workload's Job may ask for from its sandbox: a measurement.

A Unix socket beside the job's flags; what is written to it goes home as it is, and what a real
board said comes back. Lengths are eight bytes, little-endian; the answer begins with a byte, 1
for what was measured and 0 for why not, in words. Once for each Attempt.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from trainshed.runner.client import Client
from trainshed.wire.v1 import MAX_PARCEL

NAME = "bench.sock"
VARIABLE = "TRAINSHED_BENCH"
WAIT_S = 20
IDLE_S = 60.0
LOOK_S = 0.5
BLOCK = 256 * 1024


class Desk:
    """Listens in ``folder`` from the start; ``serve`` runs on a thread of its own."""

    def __init__(self, folder: str, uid: int | None) -> None:
        """Raises OSError."""
        self.path = f"{folder}/{NAME}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # a path may be longer than the 107 bytes of sun_path
            short = f"/proc/self/fd/{here}/{NAME}"
            self._listener.bind(short)
            if uid is not None:
                os.chown(short, uid, uid)
        finally:
            os.close(here)
        self._listener.listen(1)
        self._listener.settimeout(LOOK_S)

    def serve(self, client: Client, ended: Callable[[], bool]) -> None:
        """Pass on what the job asks, whole and once, until ``ended``. Raises Stale, Abandoned."""
        with self._listener:
            found = self._first(ended)
        if found is None:
            return
        link, data = found
        with link, contextlib.suppress(OSError):
            good, answer = _asked(client, data, ended)
            link.sendall(bytes([good]) + len(answer).to_bytes(8, "little") + answer)

    def _first(self, ended: Callable[[], bool]) -> tuple[socket.socket, bytes] | None:
        """Return the first link by which something whole came, and that; None at the end."""
        while not ended():
            with contextlib.suppress(OSError):
                link, _ = self._listener.accept()
                try:
                    link.settimeout(IDLE_S)
                    return link, _received(link)
                except OSError:
                    link.close()
        return None


def _asked(client: Client, data: bytes, ended: Callable[[], bool]) -> tuple[bool, bytes]:
    """Return whether it was measured, and what or why not."""
    found = client.call("PUT", "measurement", data, ended)
    while found.status in (202, 204):
        found = client.call("GET", f"measurement?wait_s={WAIT_S}", None, ended)
    if found.status == 200:
        return True, found.body
    return False, str(
        found.json().get("detail") or "The server refused to have it measured."
    ).encode()


def _received(link: socket.socket) -> bytes:
    """Return what the job sent. Raises OSError: it broke off, or is too much."""
    size = int.from_bytes(_exactly(link, 8), "little")
    if size > MAX_PARCEL:
        raise OSError("too much to measure")
    return _exactly(link, size)


def _exactly(link: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(min(size - len(parts), BLOCK))
        if not part:
            raise ConnectionError("the job went away")
        parts += part
    return bytes(parts)
