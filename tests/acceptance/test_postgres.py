"""The same server on PostgreSQL: a job's life, money under a crowd, and a kill -9 (G1, G5, G10)."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.nursery import run
from tests.support.server import Api, Server, eventually, running
from tests.support.stores import Postgres

JOB = (
    "import os, time\nimport trainshed_job as job\n"
    "for i in range({n}):\n    print(i, flush=True)\n    job.log(step=i, value=i)\n"
    "    time.sleep({pause})\n"
    "open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/kept.txt', 'w').write('kept bytes')\n"
)


def verified(server: Server, url: str) -> bool:
    done = run("doctor", "--verify", "--data", str(server.data), "--database", url)
    assert done.stdout == "Every invariant holds.\n", done
    return done.returncode == 0


def test_life_of_a_job_and_a_killed_server(pg_server: Postgres, tmp_path: Path) -> None:
    url = pg_server.empty()
    with running(tmp_path / "data", "--database", url) as server:
        api = Api(server)
        job_id = api.python(JOB.format(n=5, pause=0), env={"SECRET": "x"})
        job = api.wait(job_id)
        assert (job["state"], job["reason"]) == ("SUCCEEDED", "completed")
        assert api.logs(job_id) == b"0\n1\n2\n3\n4\n"
        series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params={"key": "value"}))
        assert [p[2] for p in series["points"]] == [0, 1, 2, 3, 4]
        body = {"job_id": job_id, "path": "kept.txt"}
        assert api.http.get(api.ok(api.http.post("/v1/downloads", json=body))["url"]).content == (
            b"kept bytes"
        )
        receipt = api.ok(api.http.get(f"/v1/jobs/{job_id}/receipt"))
        assert receipt["captured_ucredits"] > 0
        assert not (server.data / "trainshed.db").exists()

        n = 150
        job_id = api.python(JOB.format(n=n, pause=0.02))
        eventually(lambda: len(api.logs(job_id).split()) > 20, 20, "lines arrive")
        accepted = [api.submit(["true"], resources={"cpus": 0.05}) for _ in range(10)]
        server.kill()
        time.sleep(0.5)
        server.start()
        api = Api(server)
        for one in accepted:
            assert api.wait(one)["state"] == "SUCCEEDED"
        job = api.wait(job_id)
        assert job["state"] == "SUCCEEDED"
        assert job["n_attempts"] == 1
        assert api.logs(job_id).split() == [b"%d" % i for i in range(n)]
        params = {"key": "value", "max_points": 10_000}
        series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params=params))
        assert [p[2] for p in series["points"]] == list(range(n))
        assert verified(server, url)


def test_credits_for_ten_give_exactly_ten(pg_server: Callable[[], str], tmp_path: Path) -> None:
    url = pg_server()
    with running(tmp_path / "data", "--database", url, TRAINSHED_ADMIN_CREDITS="10") as server:
        api = Api(server)
        body = {"command": ["sleep", "30"], "max_runtime_s": 3600, "resources": {"cpus": 1}}
        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda _: api.http.post("/v1/jobs", json=body), range(64)))
        codes = [a.status_code for a in answers]
        assert (codes.count(201), codes.count(402)) == (10, 54), codes
        balance = api.ok(api.http.get("/v1/credits"))["balances"][0]
        assert balance["held_ucredits"] == 10_000_000
        assert balance["available_ucredits"] == 0
        jobs = [a.json()["id"] for a in answers if a.status_code == 201]
        for job_id in jobs:
            api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
        for job_id in jobs:
            assert api.wait(job_id)["state"] == "CANCELLED"
        assert api.ok(api.http.get("/v1/credits"))["balances"][0]["held_ucredits"] == 0
        assert verified(server, url)


def test_the_last_server_to_start_may_die_without_cutting_off_the_runners(
    pg_server: Callable[[], str], tmp_path: Path
) -> None:
    url = pg_server()
    with running(tmp_path / "data", "--database", url) as first:
        api = Api(first)
        door = first.data / "run" / "server.sock"
        second = Server(first.data, "--database", url).start()
        leads_to = door.readlink()
        second.kill()
        assert api.wait(api.python("print('heard')"))["state"] == "SUCCEEDED"
        assert door.readlink() == leads_to
        # The dispatcher dies: its jobs are taken over by whoever is left, as they are.
        second = Server(first.data, "--database", url).start()
        try:
            job_id = api.python("import time\ntime.sleep(25)\nprint('late')")
            eventually(lambda: api.job(job_id)["state"] == "RUNNING", 30, "it runs")
            first.kill()
            there = Api(second)
            job = there.wait(job_id, timeout_s=120)
            tried = there.ok(there.http.get(f"/v1/jobs/{job_id}/attempts"))["items"]
            assert (job["state"], len(tried)) == ("SUCCEEDED", 1), job
            assert door.readlink() != leads_to
        finally:
            own = door.parent / door.readlink()
            second.stop()
        assert not own.exists()
        assert verified(first, url)
