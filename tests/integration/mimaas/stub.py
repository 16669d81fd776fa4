"""A MIMaaS server as its contract says, on a loopback port: it remembers what it was sent."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "5f" * 32
MODEL = b"\x1c\0\0\0TFL3" + bytes(range(64))
BOARD = {
    "name": "nrf5340dk", "variant": "nrf5340_cpuapp", "board_type": "emulated",
    "specifications": {
        "flash_size": 1024, "ram_size": 512, "max_available_tensor_arena_size": 448,
        "voltage": 3000,
    },
    "available_count": 2,
}  # fmt: skip
RESULT = {
    "ram_usage": 49357, "rom_usage": 115200, "duration_avg_s": 0.01234,
    "avg_power_uW": 3702.10, "avg_energy_uJ": 45.67,
}  # fmt: skip
REPORT = {
    "figures": {
        "duration_avg_s": {"value": 0.01234, "source": "estimated", "band": 0.15, "unit": "s"},
        "avg_energy_uJ": {"value": 45.67, "source": "estimated", "band": 0.16, "unit": "µJ"},
        "ram_usage": {"value": 49357, "source": "emulated", "band": 0.0, "unit": "bytes"},
    }
}
USER = {
    "id": 7, "username": "johndoe", "email": "john@example.com", "first_name": "John",
    "surname": "Doe", "available_runs": 9, "plan": "free",
}  # fmt: skip
PLANS = [
    {"id": 1, "name": "free", "available_runs": 10},
    {"id": 2, "name": "pro", "available_runs": 1000, "price": 49.5, "currency": "USD"},
]
SAMPLES = "segment_id,time_ms,current_uA,source\n" + "".join(
    f"{n},{step * 0.01:.2f},{7000 + 10 * n + step},estimated\n"
    for n in range(10)
    for step in range(50)
)
MEMORY = {
    "symbols": {
        "name": "Root", "identifier": "root", "size": 300,
        "children": [
            {"name": "model", "identifier": "model", "size": 200, "children": [
                {"name": "conv", "identifier": "model/conv", "size": 150},
                {"name": "dense", "identifier": "model/dense", "size": 50},
            ]},
            {"name": "libc", "identifier": "libc", "size": 100},
        ],
    },
    "total_size": 300,
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to send instead of the contract's answer; ``length`` lies about it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


def refusal(status: int, message: str, **headers: str) -> Answer:
    return Answer(status, json.dumps({"message": message}).encode(), headers)


class Stub:
    """``instead`` holds answers for the next requests; ``statuses`` what a request goes through."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.instead: list[Answer] = []
        self.statuses = ["pending", "processing", "done"]
        self.folder: object = "request_1"
        self.error: str | None = None
        self.result: object = RESULT
        self.report: object = REPORT
        self.polls = 0
        self.url = ""

    def request(self, **changes: Any) -> dict[str, Any]:
        status = self.statuses[min(self.polls, len(self.statuses) - 1)]
        return {
            "id": 1, "status": status, "board": "nrf5340dk", "quantize": False,
            "network": "model.tflite", "folder_name": self.folder, "error_message": self.error,
            "result": self.result if status == "done" else None, **changes,
        }  # fmt: skip

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        if self.instead:
            return self.instead.pop(0)
        path, _, _ = seen.path.partition("?")
        found = self._public(seen.method, path)
        if found is not None:
            return _json(found)
        if path.startswith("/api/boards/"):
            return refusal(404, "Board not found")
        if seen.headers.get("authorization") != TOKEN:
            return refusal(401, "Invalid or missing API token")
        return self._mine(seen.method, path)

    def _public(self, method: str, path: str) -> Any:
        return {
            "POST /login": {"api_token": TOKEN},
            "POST /register": {"api_token": TOKEN},
            "GET /api/boards": {"boards": [BOARD]},
            "GET /api/boards/nrf5340dk": BOARD,
            "GET /api/boards/nrf5340dk/status": {"board": "nrf5340dk", "status": "available"},
            "GET /api/plans": {"plans": PLANS},
        }.get(f"{method} {path}")

    def _mine(self, method: str, path: str) -> Answer:
        if path.startswith("/api/requests/1/artifacts/"):
            return self._artifact(path.rpartition("/")[2])
        if (method, path) == ("GET", "/api/requests/1"):
            self.polls += 1
            return _json({**self.request(), "status": self.request()["status"]})
        known: dict[str, Callable[[], Answer]] = {
            "GET /me": lambda: _json(USER),
            "POST /api/validate": lambda: _json({"valid": True, "errors": [], "warnings": []}),
            "POST /api/requests/": lambda: _json(self.request(status="pending"), 201),
            "GET /api/requests/": lambda: _json([self.request()]),
            "DELETE /api/requests/1": lambda: Answer(204),
        }
        found = known.get(f"{method} {path}")
        return found() if found else refusal(404, "Request not found")

    def _artifact(self, kind: str) -> Answer:
        files = {
            "ram_report": json.dumps(MEMORY).encode(),
            "rom_report": json.dumps(MEMORY).encode(),
            "power_summary": b"segment_id,duration_ms\n0,12.34\n",
            "power_samples": SAMPLES.encode(),
            "model": MODEL,
            **({"report": json.dumps(self.report).encode()} if self.report else {}),
            "layers": b'{"layers": []}',
            "all": zipped({"ppk2_samples.csv": SAMPLES.encode()}),
        }
        return Answer(200, files[kind]) if kind in files else refusal(404, "No such artifact")


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def _json(found: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(found).encode(), {"Content-Type": "application/json"})


@contextmanager
def serving() -> Iterator[Stub]:
    """Yield a stub that answers at ``url`` until the block ends."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = stub.answer(Seen(self.command, self.path, headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = length != len(answer.body)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
