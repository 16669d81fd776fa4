"""No-op jobs in containers per second, against the engine's own ``run`` of the same image. Each job
also asks the engine which image that is, to pin its digest: a second call of the engine.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.images import SHELL, Engine, missing
from tests.support.server import Api, running

from bench.jobs import WORKERS, through
from bench.rows import Row


def alone(engine: Engine, n: int) -> float:
    """Return ``podman run`` of a no-op per second, ``WORKERS`` at a time, as isolated as a job."""
    command = engine.command(
        "run", "--rm", "--network=none", "--cap-drop=all", "--security-opt=no-new-privileges",
        "--read-only", "--init", "--log-driver=none", "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=4096:4096", "--memory=1g", "--cpus=1", SHELL, "true",
    )  # fmt: skip

    def one(_: int) -> None:
        subprocess.run(command, env=engine.environ, check=True, capture_output=True)

    begin = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(n)))
    return n / (time.perf_counter() - begin)


def rows(n: int) -> list[Row]:
    """Measure, on a server and an engine storage of their own."""
    why = missing()
    if why:
        print(f"skipped containers: {why}")
        return []
    with tempfile.TemporaryDirectory(prefix="trainshed-bench-") as folder:
        engine = Engine(Path(folder))
        try:
            engine.build(SHELL)
            env = {"CONTAINERS_STORAGE_CONF": str(engine.storage)}
            os.environ.update(env)  # the executor that ends what is left reads it too
            with running(Path(folder) / "data", TRAINSHED_RATE_LIMIT_PER_MINUTE="10000000") as one:
                api = Api(one)
                image = {"environment": {"kind": "image", "value": SHELL}, "resources": {"cpus": 1}}
                through(api, ["true"], 4, **image)
                floor = alone(engine, n)
                rate = through(api, ["true"], n, **image)
        finally:
            engine.close()
    return [Row("no-op jobs in containers", rate, "jobs/s", floor, "podman run/s", 0.6)]
