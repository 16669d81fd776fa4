"""Between runners and their server: every ``finished`` is sent again, several times, at once."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

TIMES = 3


class Replay:
    """Stands at the address of the runners' socket, behind which the server still listens."""

    def __init__(self, public: Path) -> None:
        self.real = public.with_name(public.name + ".real")
        os.rename(public, self.real)
        self.answers: list[int] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(public))
        os.chmod(public, self.real.stat().st_mode & 0o777)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(str(self.real))
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            while data := client.recv(1 << 18):
                if b"/finished HTTP" in data.split(b"\r\n", 1)[0]:
                    data = _whole(client, data)
                    for _ in range(TIMES):
                        threading.Thread(target=self._send, args=(data,), daemon=True).start()
                server.sendall(data)
            back.join(60)

    def _send(self, request: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(OSError, IndexError):
            one.settimeout(30)
            one.connect(str(self.real))
            one.sendall(request)
            self.answers.append(int(one.recv(4096).split()[1]))

    def close(self) -> None:
        self._listener.close()


def _whole(client: socket.socket, data: bytes) -> bytes:
    """Read the rest of a request whose beginning is ``data``."""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < sum(lengths):
        more = client.recv(65536)
        data, body = data + more, body + more
    return data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 18):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def replaying(data: Path) -> Iterator[Replay]:
    """Repeat what runners of the server on ``data`` finish, until the server is restarted."""
    one = Replay(data / "run" / "server.sock")
    try:
        yield one
    finally:
        one.close()
