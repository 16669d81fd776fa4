"""Jobs end to end per second, against spawning the same program bare and against RQ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from tests.support.server import Api, Server, eventually

from bench.rows import PLACE, Row, percentile
from trainshed.runner import etc, template, workspace
from trainshed.runner.config import prefixes
from trainshed.runner.sandboxes import Box, bwrap

WORKERS = 2


def bare(argv: list[str], n: int) -> float:
    """Return processes per second, ``WORKERS`` at a time, by posix_spawn."""

    def one(_: int) -> None:
        os.waitpid(os.posix_spawnp(argv[0], argv, os.environ), 0)

    begin = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(n)))
    return n / (time.perf_counter() - begin)


def sandboxed(argv: list[str], n: int) -> float | None:
    """Return processes per second inside the sandbox of a job, with nothing of Trainshed around.

    The very arguments a runner builds (bwrap, then setpriv as root): no job of level ``strong``
    can be faster. None where that sandbox does not work.
    """
    host = template.find_host()
    if not host.bwrap_works:
        return None
    with tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=PLACE) as data:
        Path(data, "run").mkdir()
        etc.build(data)
        uid = 200_000 if host.root else None
        place = workspace.create(data, uid, resuming=False)
        box = Box(
            work=place.work, tmp=place.tmp,
            writable=(place.work, place.output, place.checkpoints, place.job),
            readable=prefixes(sys.executable), uid=uid, network=True, hidden=data,
            etc=etc.folder(data),
        )  # fmt: skip
        return bare(bwrap.arguments(host, box, argv), n)


def through(api: Api, argv: list[str], n: int) -> float:
    """Return jobs per second from the first submit to the last outcome.

    Half a CPU each keeps both cores busy while a job starts and ends.
    """
    body = {"name": "noop", "command": argv, "resources": {"cpus": 0.5}, "max_runtime_s": 60}
    begin = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        ids = list(pool.map(lambda _: api.ok(api.http.post("/v1/jobs", json=body))["id"], range(n)))

    def left() -> bool:
        busy = api.http.get("/v1/jobs", params={"state": ["QUEUED", "RUNNING"], "limit": 1})
        return not busy.json()["items"]

    until = time.monotonic() + 300
    while not left():
        assert time.monotonic() < until
        time.sleep(0.1)  # looking costs the same two cores
    spent = time.perf_counter() - begin
    states = {api.job(i)["state"] for i in ids[:: max(1, n // 20)]}
    assert states == {"SUCCEEDED"}, states
    return n / spent


def latency(api: Api, n: int) -> list[float]:
    """Return milliseconds from submit to the start of the user's process, one job at a time."""
    out = []
    for _ in range(n):
        job = api.wait(api.submit(["true"]))
        created, started = (
            datetime.fromisoformat(job[k].replace("Z", "+00:00"))
            for k in ("created_at", "started_at")
        )
        out.append((started - created).total_seconds() * 1000)
    return out


def rq(n: int, venv: Path) -> float | None:
    """Return RQ's no-op jobs per second with two workers, or None when it cannot run here."""
    python, redis = venv / "bin" / "python", shutil.which("redis-server")
    if redis is None or not python.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        server = subprocess.Popen(
            [redis, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: Path(socket).exists(), 10)
            return _rq_run(python, f"unix://{socket}", n, folder)
        finally:
            server.terminate()
            server.wait()


def _rq_run(python: Path, url: str, n: int, folder: str) -> float:
    enqueue = (
        "import sys, time, redis, rq, os\n"
        "q = rq.Queue(connection=redis.Redis.from_url(sys.argv[1]))\n"
        "jobs = [q.enqueue(os.getpid) for _ in range(int(sys.argv[2]))]\n"
    )
    worker = [str(python), "-m", "rq.cli", "worker", "--url", url, "--burst", "--quiet"]
    begin = time.perf_counter()
    subprocess.run([str(python), "-c", enqueue, url, str(n)], check=True, cwd=folder)
    workers = [subprocess.Popen(worker, cwd=folder) for _ in range(WORKERS)]
    for one in workers:
        one.wait(300)
    return n / (time.perf_counter() - begin)


def rows(server: Server, n: int, venv: Path) -> list[Row]:
    """Measure everything of this file."""
    api = Api(server)
    through(api, ["true"], 20)
    python = [sys.executable, "-c", "pass"]
    out = []
    for name, mine, floor_argv, target in (
        ("no-op jobs, /bin/true", ["/bin/true"], ["/bin/true"], 0.0),
        ("no-op jobs, python -c pass", ["python", "-c", "pass"], python, 0.5),
    ):
        floor = bare(floor_argv, n)
        rate = through(api, mine, n)
        out.append(Row(name, rate, "jobs/s", floor, "bare spawn/s", target))
    limit = sandboxed(python, n)
    if limit is not None:
        what = "the same program in the same sandbox"
        out.append(Row(what, limit, "spawns/s", floor, "bare spawn/s", 0.0))
        out.append(Row("no-op jobs against that sandbox", rate, "jobs/s", limit, "spawns/s", 0.0))
    peer = rq(n, venv)
    if peer is not None:
        out.append(Row("no-op jobs against RQ", rate, "jobs/s", peer, "RQ jobs/s", 1.4))
    else:
        print("skipped RQ: needs redis-server (apt-get install redis-server) and .venv-bench")
    times = latency(api, 100)
    out.append(
        Row("submit → process start p50", percentile(times, 0.5), "ms", 50, "goal ms", 1, True)
    )
    out.append(
        Row("submit → process start p99", percentile(times, 0.99), "ms", 500, "goal ms", 1, True)
    )
    level = api.wait(api.submit(["true"]))["attempt"]["isolation"]
    print(f"isolation level of these jobs: {level}")
    return out
