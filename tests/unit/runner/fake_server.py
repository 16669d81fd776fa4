"""A server that speaks ``wire.v1`` from memory, over a Unix socket, for one process of tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from trainshed.wire import v1

Reply = tuple[int, Any]
#: Whose jobs these are: whoever ends a job ends all of its uid, also one of another run of tests.
UID = 500_000 + os.getpid() % 500_000


class Attempt:
    """What the server knows of one Attempt."""

    def __init__(self, command: list[str], **fields: Any) -> None:
        self.id = fields.pop("attempt_id", f"att_{uuid.uuid4()}")
        self.token = uuid.uuid4().hex
        self.inputs: list[bytes] = fields.pop("input_bytes", [])
        self.resume_bytes: list[bytes] = fields.pop("resume_bytes", [])
        limits = {
            "millicpus": 2000,
            "memory_bytes": 1 << 30,
            "max_runtime_ms": 60_000,
            "log_bytes": 1 << 30,
            "disk_bytes": 1 << 30,
            "pids": 512,
        } | fields.pop("limits", {})
        base: dict[str, Any] = {
            "attempt_id": self.id,
            "job_id": "job_1",
            "number": 1,
            "job_token": "job-token",
            "command": command,
            "python": sys.executable,
            "sandbox": {"kind": "auto", "uid": UID, "network": "host", "minimum": "none"},
            "limits": limits,
            "grace_s": 2.0,
            "heartbeat_s": 0.2,
            "api_url": "http://127.0.0.1:1",
        }
        self.assignment = base | fields
        self.streams: dict[str, bytearray] = {}
        self.points: list[list[Any]] = []
        self.calls: list[str] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.states: list[bool] = []
        self.started: dict[str, Any] | None = None
        self.finished: dict[str, Any] | None = None
        self.order: dict[str, Any] | None = None
        self.stale = False
        self.log_limit: int | None = None
        self.blob_status = 201
        self.lose_answers = 0
        self.parcel = b""
        #: What a bench says to it, once it says anything.
        self.measured: Reply | None = None

    def text(self, stream: str = "stdout") -> str:
        """Return a stream as text."""
        return bytes(self.streams.get(stream, b"")).decode("utf-8", "replace")

    def metric(self, key: str) -> list[tuple[int, Any]]:
        """Return (step, value) of one key."""
        return [(p[1], p[3]) for p in self.points if p[0] == key]


class FakeServer:
    """Listens on ``path``; ``stop`` and ``start`` make it silent and back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"unix:{path}"
        self.attempts: dict[str, Attempt] = {}
        self.changed = threading.Condition()
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def add(self, attempt: Attempt) -> Attempt:
        """Know an Attempt."""
        self.attempts[attempt.id] = attempt
        return attempt

    def start(self) -> None:
        """Listen."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
        one.bind(f"/proc/self/fd/{folder}/{self.path.name}")
        os.close(folder)
        one.listen(128)
        self._listener = one
        threading.Thread(target=self._accept, args=(one,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: connections break, the socket refuses."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            self._links.add(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as reader, contextlib.suppress(OSError, ValueError):
            while line := reader.readline():
                method, target, _ = line.decode().split()
                headers = {}
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                size = int(headers.get("content-length", 0))
                token = headers.get("authorization", "")[7:]
                status, body = self._answer(method, target, token, reader, size)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                if status == 0:
                    break
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n"
                link.sendall(head.encode() + data)
        self._links.discard(link)

    def _answer(self, method: str, target: str, token: str, reader: BinaryIO, size: int) -> Reply:
        parts = urlsplit(target)
        attempt_id, _, rest = parts.path[len(v1.PREFIX) + 1 :].partition("/")
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        body = reader.read(size)
        attempt = self.attempts.get(attempt_id)
        if attempt is None or token != attempt.token:
            return 401, {"code": "not_authenticated"}
        if attempt.stale:
            return 409, {"code": "stale_lease"}
        name, _, tail = rest.partition("/")
        attempt.calls.append(name)
        with self.changed:
            try:
                reply: Reply = getattr(self, f"_{name}")(attempt, tail, query, body)
            finally:
                self.changed.notify_all()
        if attempt.lose_answers and name in ("streams", "metrics"):
            attempt.lose_answers -= 1
            return 0, b""
        return reply

    def _assignment(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        return 200, a.assignment

    def _started(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        a.started = json.loads(body)
        return 200, {"order": a.order}

    def _heartbeat(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        a.heartbeats.append(json.loads(body))
        return 200, {"order": a.order}

    def _orders(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        end = time.monotonic() + min(float(query["wait_s"]), 3)
        while a.order is None and not a.stale and time.monotonic() < end:
            self.changed.wait(0.1)
        order, once = a.order, a.order is not None and a.order["kind"] == "checkpoint"
        if once:
            a.order = None
        return 200, {"order": order}

    def _streams(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        stream = a.streams.setdefault(tail, bytearray())
        if int(query["offset"]) != len(stream):
            return 409, {"code": "offset_mismatch", "next": len(stream)}
        if a.log_limit is not None and len(stream) + len(body) > a.log_limit:
            return 413, {"code": "too_large", "next": len(stream)}
        assert 0 < len(body) <= v1.CHUNK
        stream += body
        return 200, {"next": len(stream)}

    def _metrics(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        if int(query["offset"]) != len(a.points):
            return 409, {"code": "offset_mismatch", "next": len(a.points)}
        points = json.loads(body)["points"]
        assert 0 < len(points) <= v1.MAX_POINTS
        a.points += points
        return 200, {"next": len(a.points)}

    def _inputs(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        return 200, a.inputs[int(tail)]

    def _resume(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        return 200, a.resume_bytes[int(tail)]

    def _blobs(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        if a.blob_status != 201:
            return a.blob_status, {"code": "quota_exceeded", "detail": "The quota is used up."}
        assert hashlib.sha256(body).hexdigest() == query["sha256"]
        assert len(body) == int(query["size"])
        a.blobs[query["md5"]] = body
        return 201, {"md5": query["md5"]}

    def _checkpointing(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        a.states.append(json.loads(body)["active"])
        return 200, {"order": a.order}

    def _measurement(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        if "wait_s" not in query:
            a.parcel = body
            return 202, {}
        end = time.monotonic() + 0.2
        while a.measured is None and not a.stale and time.monotonic() < end:
            self.changed.wait(0.05)
        return a.measured or (204, b"")

    def _artifacts(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        message = json.loads(body)
        assert all(f["md5"] in a.blobs for f in message["files"])
        a.artifacts.append(message)
        return 201, {"id": f"art_{len(a.artifacts)}"}

    def _finished(self, a: Attempt, tail: str, query: dict[str, str], body: bytes) -> Reply:
        a.finished = json.loads(body)
        a.started = a.started or a.finished.get("started")
        return 200, {}
