"""A real training loop is evicted for a higher priority, then by a drain, and loses nothing that it
had saved.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.server import Api, Server, doctor, eventually, running, stop_leftovers

TRAINSHED = str(Path(sys.executable).parent / "trainshed")
EPOCHS = 60
#: Saves each epoch; what it has not saved when SIGTERM comes is lost.
TRAIN = (
    "import os, time\nfrom pathlib import Path\nimport trainshed_job as job\n"
    "folder = Path(os.environ['TRAINSHED_CHECKPOINT_DIR'])\n"
    "start = job.resume_from()\n"
    "n = int((Path(start) / 'epoch.txt').read_text()) if start else 0\n"
    "print('from', n, flush=True)\n"
    f"while n < {EPOCHS}:\n"
    "    time.sleep(0.1)\n    n += 1\n"
    "    new = folder / '.tmp-epoch'\n    new.write_text(str(n))\n"
    "    new.rename(folder / 'epoch.txt')\n    print('epoch', n, flush=True)\n"
    "Path(os.environ['TRAINSHED_OUTPUT_DIR'], 'done.txt').write_text(str(n))\n"
)
ONE_CPU = {"TRAINSHED_CPUS": "1", "TRAINSHED_PREEMPT_MIN_RUN_S": "1"}


def epochs(api: Api, job_id: str, attempt: int) -> list[int]:
    params: dict[str, Any] = {"stream": "stdout", "attempt": attempt, "limit": 65536}
    text = api.ok(api.http.get(f"/v1/jobs/{job_id}/logs", params=params))["text"]
    return [int(line.split()[1]) for line in text.splitlines()]


def kinds(api: Api, job_id: str) -> list[str]:
    found = api.ok(api.http.get(f"/v1/jobs/{job_id}/events", params={"limit": 200}))["items"]
    return [e["kind"] for e in found if e["kind"].startswith("job.")]


def plan(api: Api, **spec: Any) -> dict[str, Any]:
    return api.ok(api.http.post("/v1/jobs/plan", json={"command": ["true"], **spec}))


def test_evicted_resumes_and_is_billed_for_what_it_kept(tmp_path: Path) -> None:
    with running(tmp_path / "data", **ONE_CPU) as server:
        api = Api(server)
        low = api.python(TRAIN, max_runtime_s=600)
        eventually(lambda: b"epoch 12\n" in api.logs(low), 30)
        same = plan(api)
        assert (same["starts"]["code"], same["position"]) == ("no_capacity", 1)
        assert same["estimated_start_at"] is not None
        high = api.python("import time; time.sleep(1)", priority=10)
        assert api.wait(high)["state"] == "SUCCEEDED"
        job = api.wait(low)
        assert job["state"] == "SUCCEEDED", (job, api.logs(low, "system"))
        first, second = api.ok(api.http.get(f"/v1/jobs/{low}/attempts"))["items"]
        assert (first["state"], first["reason"]) == ("EVICTED", "preempted")
        assert first["billable_ms"] <= first["runtime_ms"]
        assert second["resumed_from"]
        (_, *before), (start, *after) = epochs(api, low, 1), epochs(api, low, 2)
        assert start >= 12
        assert sorted({*before, *after}) == list(range(1, EPOCHS + 1))
        assert len(before) + len(after) <= EPOCHS + 1
        paid = api.ok(api.http.get(f"/v1/jobs/{low}/receipt"))
        assert 0 <= paid["lost_s"] < 5
        assert paid["captured_ucredits"] + paid["released_ucredits"] == paid["held_ucredits"]
        assert kinds(api, low) == [
            "job.queued", "job.starting", "job.running", "job.evicting", "job.evicted",
            "job.starting", "job.resuming", "job.running", "job.succeeded",
        ]  # fmt: skip
        assert doctor(server) == []


def test_a_job_that_saves_nothing_new_is_not_billed_for_it(tmp_path: Path) -> None:
    code = (
        "import os, time\nfrom pathlib import Path\n"
        "Path(os.environ['TRAINSHED_CHECKPOINT_DIR'], 'once').write_text('x')\n"
        "print('saved', flush=True)\ntime.sleep(600)\n"
    )
    with running(tmp_path / "data", **ONE_CPU) as server:
        api = Api(server)
        low = api.python(code, max_runtime_s=600)
        eventually(lambda: b"saved" in api.logs(low), 30)
        eventually(lambda: (api.job(low)["attempt"] or {}).get("state") == "RUNNING", 10)
        subprocess.run(["sleep", "3"], check=True)
        high = api.python("print('quick')", priority=1)
        assert api.wait(high)["state"] == "SUCCEEDED"
        first = api.ok(api.http.get(f"/v1/jobs/{low}/attempts"))["items"][0]
        assert (first["state"], first["reason"]) == ("EVICTED", "preempted")
        assert first["billable_ms"] < 2000 < first["runtime_ms"]
        api.ok(api.http.post(f"/v1/jobs/{low}/cancel"))
        api.wait(low)
        receipt = api.ok(api.http.get(f"/v1/jobs/{low}/receipt"))
        assert receipt["lost_s"] >= (first["runtime_ms"] - first["billable_ms"]) / 1000
        assert doctor(server) == []


def test_an_operators_drain_moves_jobs_on_and_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "data", **ONE_CPU) as server:
        api = Api(server)
        low = api.python(TRAIN, max_runtime_s=600)
        eventually(lambda: b"epoch 5\n" in api.logs(low), 30)
        env = {"TRAINSHED_URL": server.url, "TRAINSHED_API_KEY": server.credentials["api_key"]}
        _cli("offers", "drain", "local", **env)

        def waits() -> bool:
            wait = api.job(low)["wait_reason"]
            return wait is not None and wait["code"] == "drained"

        eventually(waits, 30)
        assert api.job(low)["attempt"]["reason"] == "drained"
        server.stop()
        server.start()
        api = Api(server)
        (offer,) = api.ok(api.http.get("/v1/offers"))["items"]
        assert offer["drained_at"]
        assert plan(api)["starts"]["code"] == "drained"
        assert api.job(low)["state"] == "QUEUED"
        _cli("offers", "undrain", "local", **{**env, "TRAINSHED_URL": server.url})
        assert api.wait(low)["state"] == "SUCCEEDED"
        assert epochs(api, low, 2)[0] >= 5
        missing = api.http.post("/v1/offers/nothing/drain")
        assert missing.status_code == 404
        assert doctor(server) == []


def _cli(*words: str, **env: str) -> None:
    done = subprocess.run(
        [TRAINSHED, *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_next_server_on_one_database_takes_over(
    pg_server: Callable[[], str], tmp_path: Path
) -> None:
    """Two servers with one data directory: the first is killed, the second goes on for it."""
    url = pg_server().replace("postgresql:", "postgresql+psycopg:")
    first = Server(tmp_path / "data", TRAINSHED_DATABASE=url).start()
    second = Server(tmp_path / "data", TRAINSHED_DATABASE=url).start()
    try:
        api = Api(second)
        long = api.python("import time; time.sleep(25); print('whole')", max_runtime_s=600)
        jobs = [api.submit(["true"]) for _ in range(4)]
        for job_id in jobs:
            assert api.wait(job_id)["n_attempts"] == 1
        api.wait(long, "RUNNING")
        first.stop(signal.SIGKILL)
        after = api.submit(["true"])
        assert api.wait(after, timeout_s=90)["state"] == "SUCCEEDED"
        done = api.wait(long, timeout_s=120)
        assert (done["state"], done["n_attempts"]) == ("SUCCEEDED", 1)
        assert b"whole" in api.logs(long)
    finally:
        first.kill()
        second.kill()
        stop_leftovers(tmp_path / "data")
