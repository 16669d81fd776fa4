"""Durable metric points and log lines per second through HTTP, against MLflow's tracking server."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
from tests.support.server import Api, Server, eventually

from bench.rows import Row
from trainshed.bootstrap.secrets import FileSecrets

BATCH = 1000
CLIENTS = 2


@contextmanager
def attempts(server: Server, n: int) -> Iterator[list[tuple[str, str]]]:
    """Yield (attempt id, runner token) of ``n`` live jobs that log nothing themselves."""
    api = Api(server)
    secrets = FileSecrets(server.data / "secrets")
    spec = {"resources": {"cpus": 0.1}}
    jobs = [api.submit(["sleep", "300"], **spec) for _ in range(n)]
    found = []
    for job in jobs:
        attempt = api.wait(job, "RUNNING")["attempt"]["id"]
        signature = secrets.sign(b"runner-token:" + attempt.encode())
        found.append((attempt, f"tsr_{attempt[4:]}_{signature}"))
    yield found
    for job in jobs:
        api.ok(api.http.post(f"/v1/jobs/{job}/cancel"))


def _post(server: Server, who: tuple[str, str], kind: str, bodies: list[bytes], step: int) -> None:
    attempt, token = who
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as http:
        offset = 0
        for body in bodies:
            path = f"/runner/v1/attempts/{attempt}/{kind}?offset={offset}"
            answer = http.post(path, content=body)
            assert answer.status_code == 200, answer.text
            offset += step or len(body)


def metrics(server: Server, seconds_worth: int) -> float:
    """Return points per second, each answered after its commit."""
    bodies = [
        json.dumps(
            {"points": [[f"m{i % 4}", b * BATCH + i, 1_700_000_000_000, 0.5] for i in range(BATCH)]}
        ).encode()
        for b in range(seconds_worth)
    ]
    with attempts(server, CLIENTS) as live:
        begin = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda who: _post(server, who, "metrics", bodies, BATCH), live))
        return CLIENTS * BATCH * len(bodies) / (time.perf_counter() - begin)


def log_lines(server: Server, chunks: int) -> float:
    """Return log lines per second (80 bytes each), each chunk answered after its commit."""
    chunk = b"".join(b"%079d\n" % i for i in range(800))
    with attempts(server, CLIENTS) as live:
        begin = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            bodies = [chunk] * chunks
            list(pool.map(lambda who: _post(server, who, "streams/stderr", bodies, 0), live))
        return CLIENTS * 800 * chunks / (time.perf_counter() - begin)


def mlflow(batches: int, venv: Path) -> float | None:
    """Return MLflow's durable points per second by raw REST log-batch, or None without it."""
    program = venv / "bin" / "mlflow"
    if not program.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(program), "server", "--host", "127.0.0.1", "--port", "5797", "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder}/m.db",
            "--artifacts-destination", f"{folder}/a",
        ]  # fmt: skip
        server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return _mlflow_run("http://127.0.0.1:5797/api/2.0/mlflow", batches)
        finally:
            import os
            import signal

            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _mlflow_run(base: str, batches: int) -> float:
    def up() -> bool:
        try:
            return httpx2.get(base.replace("/api/2.0/mlflow", "/health")).status_code == 200
        except httpx2.HTTPError:
            return False

    eventually(up, 90)
    run = httpx2.post(f"{base}/runs/create", json={"experiment_id": "0"}).json()
    run_id = run["run"]["info"]["run_id"]
    with httpx2.Client(timeout=60) as http:
        begin = time.perf_counter()
        for b in range(batches):
            points = [
                {"key": f"m{i % 4}", "value": 0.5, "timestamp": 1, "step": b * BATCH + i}
                for i in range(BATCH)
            ]
            body = {"run_id": run_id, "metrics": points}
            assert http.post(f"{base}/runs/log-batch", json=body).status_code == 200
        return batches * BATCH / (time.perf_counter() - begin)


def rows(server: Server, scale: int, venv: Path) -> list[Row]:
    """Measure everything of this file."""
    mine = metrics(server, 100 * scale)
    out = [Row("metric points", mine, "points/s", 100_000, "goal", 1)]
    peer = mlflow(20 * scale, venv)
    if peer is not None:
        out.append(Row("metric points against MLflow", mine, "points/s", peer, "MLflow", 10))
    else:
        print("skipped MLflow: not in .venv-bench")
    out.append(Row("log lines", log_lines(server, 100 * scale), "lines/s", 50_000, "goal", 1))
    return out
