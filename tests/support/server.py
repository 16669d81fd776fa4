"""A real server in a process of its own, for acceptance tests: loopback, a free port, bounded
waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
from tests.support.nursery import TRAINSHED, Forked, nursery, run

#: At full size every server is executed as a user would.
EXECUTED = os.environ.get("TRAINSHED_SOAK") == "1"
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


def eventually(check: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Return the first truthy ``check()``; fail after ``timeout_s``."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if found := check():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what or check}")


def processes_with(marker: str) -> list[int]:
    """Return live processes whose command line holds ``marker``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
                state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if marker.encode() in line and state != "Z":
                found.append(int(folder.name))
    return found


class Server:
    """``trainshed up`` on ``data``; the port is free at the first start and kept after. It is
    forked from a process that has the modules already, unless ``executed``.
    """

    def __init__(self, data: Path, *args: str, executed: bool = EXECUTED, **env: str) -> None:
        self.data, self.args, self.env, self.executed = data, args, env, executed
        self.url, self.port = "", 0
        self.process: subprocess.Popen[str] | Forked | None = None
        self.clients: list[httpx2.Client] = []

    def start(self) -> Server:
        command = [
            TRAINSHED, "up", "--data", str(self.data),
            "--listen", f"127.0.0.1:{self.port}", *self.args,
        ]  # fmt: skip
        self.errors = (self.data.parent / f"{self.data.name}.log").open("a")
        env, home = {**os.environ, **self.env}, self.data.parent
        if self.executed:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env, cwd=home
            )
        else:
            self.process = nursery().fork(command, env, home, self.errors.fileno())
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("trainshed ready http://"), (line, self.log())
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def log(self) -> str:
        return (self.data.parent / f"{self.data.name}.log").read_text()

    def stop(self, sig: int = signal.SIGTERM, timeout_s: float = 15.0) -> int:
        while self.clients:
            self.clients.pop().close()
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(timeout_s)
        self.process.stdout.close()  # type: ignore[union-attr]
        self.errors.close()
        self.process = None
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return found

    def client(self, key: str | None = None) -> httpx2.Client:
        token = key or self.credentials["api_key"]
        headers = {"Authorization": f"Bearer {token}"}
        made = httpx2.Client(base_url=self.url, headers=headers, timeout=30)
        self.clients.append(made)
        return made


class Api:
    """Thin helpers over HTTP; deliberately not our SDK."""

    def __init__(self, server: Server, key: str | None = None) -> None:
        self.server = server
        self.http = server.client(key)

    def upload(self, path: str, data: bytes) -> str:
        made = self.ok(self.http.post("/v1/uploads", json={"path": path, "size_bytes": len(data)}))
        put = httpx2.put(made["url"], content=data, timeout=60)
        assert put.status_code == 201, put.text
        return str(made["id"])

    def submit(self, command: list[str], files: dict[str, bytes] | None = None, **spec: Any) -> str:
        inputs = [
            {"source": "upload", "ref": self.upload(path, data), "path": path}
            for path, data in (files or {}).items()
        ]
        body = {"name": "test", "command": command, "inputs": inputs, **spec}
        return str(self.ok(self.http.post("/v1/jobs", json=body))["id"])

    def python(self, code: str, **spec: Any) -> str:
        return self.submit(["python", "job.py"], {"job.py": code.encode()}, **spec)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.ok(self.http.get(f"/v1/jobs/{job_id}"))

    def wait(self, job_id: str, *states: str, timeout_s: float = 60.0) -> dict[str, Any]:
        wanted = states or ENDED

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["state"] in wanted or job["state"] not in ENDED, (job, self.server.log())
            return job if job["state"] in wanted else None

        found: dict[str, Any] = eventually(look, timeout_s, f"{job_id} → {wanted}")
        return found

    def logs(self, job_id: str, stream: str = "stdout") -> bytes:
        out, offset = b"", 0
        while True:
            params: dict[str, Any] = {"stream": stream, "offset": offset, "limit": 4 * 1024**2}
            part = self.http.get(f"/v1/jobs/{job_id}/logs", params={**params, "raw": "true"})
            assert part.status_code == 200, part.text
            if not part.content:
                return out
            out += part.content
            offset += len(part.content)

    def ok(self, response: httpx2.Response) -> dict[str, Any]:
        assert response.status_code < 300, f"{response.status_code} {response.text}"
        found: dict[str, Any] = response.json() if response.content else {}
        return found


@contextlib.contextmanager
def running(data: Path, *args: str, executed: bool = EXECUTED, **env: str) -> Iterator[Server]:
    server = Server(data, *args, executed=executed, **env).start()
    try:
        yield server
    finally:
        server.kill()
        stop_leftovers(data)


def stop_leftovers(data: Path) -> None:
    """End the template and runners of this data directory, found by their own pid files."""
    from trainshed.executors.process.executor import ProcessExecutor

    executor = ProcessExecutor(data)
    for attempt_id in executor.workspaces():
        executor.stop(attempt_id, {})
    executor.shut()


def doctor(server: Server) -> list[str]:
    """Return what ``trainshed doctor --verify`` finds broken."""
    done = run("doctor", "--verify", "--data", str(server.data), "--json")
    found: list[str] = json.loads(done.stdout)["broken"]
    assert (done.returncode == 0) == (not found), done
    return found
