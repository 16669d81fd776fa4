"""Server, runner, template and job are killed; nothing acknowledged is lost (G1, G3–G7,
G11–G13).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.support.server import (
    Api,
    Server,
    doctor,
    eventually,
    processes_with,
    running,
)

from trainshed.executors.process.procs import left_handle

COUNT = (
    "import time\nimport trainshed_job as job\n"
    "for i in range({n}):\n    print(i, flush=True)\n"
    "    job.log(step=i, value=i)\n    time.sleep(0.02)\n"
)


def runner_pids(server: Server) -> list[int]:
    """Pids of live runners, as they left them on their workspaces."""
    places = (server.data / "workspaces").iterdir()
    pids = [int(left_handle(place).get("pid", 0)) for place in places]
    return [p for p in pids if p and Path(f"/proc/{p}").exists()]


def template_pid(server: Server) -> int:
    """Pid of the template of the server's data directory, by its own word."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(server.data / "run" / "template.sock"))
        link.sendall(b'{"op": "hello"}\n')
        return int(json.loads(link.makefile().readline())["pid"])


def test_jobs_outlive_the_server(tmp_path: Path) -> None:
    """The server is away (CI: 3 s; soak: 10 min): same process, no lost line or point, one
    Attempt.
    """
    away_s = 600 if os.environ.get("TRAINSHED_SOAK") == "1" else 3
    with running(tmp_path / "data") as server:
        api = Api(server)
        n = int((away_s + 3) / 0.02)
        job_id = api.python(COUNT.format(n=n))
        api.wait(job_id, "RUNNING")
        server.stop()
        time.sleep(away_s)
        server.start()
        api = Api(server)
        job = api.wait(job_id, timeout_s=120)
        assert job["state"] == "SUCCEEDED"
        assert job["n_attempts"] == 1
        assert api.logs(job_id).split() == [b"%d" % i for i in range(n)]
        params = {"key": "value", "max_points": 10000, "first_step": 0}
        series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params=params))
        if not series["buckets"]:
            assert [p[2] for p in series["points"]] == list(range(n))
        assert doctor(server) == []


def test_killed_server_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        acknowledged: list[str] = []
        for _ in range(3):
            api = Api(server)
            acknowledged += [api.submit(["true"]) for _ in range(20)]
            server.kill()
            server.start()
        api = Api(server)
        for job_id in acknowledged:
            assert api.wait(job_id, timeout_s=90)["state"] == "SUCCEEDED"
        assert doctor(server) == []


def test_killed_runner_is_noticed_and_the_job_runs_again(tmp_path: Path) -> None:
    with running(tmp_path / "data", TRAINSHED_LEASE_S="3", TRAINSHED_HEARTBEAT_S="0.5") as server:
        api = Api(server)
        job_id = api.python(COUNT.format(n=100))
        api.wait(job_id, "RUNNING")
        (pid,) = eventually(lambda: runner_pids(server), 10)
        os.kill(pid, signal.SIGKILL)
        job = api.wait(job_id, timeout_s=60)
        assert job["state"] == "SUCCEEDED"
        assert job["n_attempts"] == 2
        tried = api.ok(api.http.get(f"/v1/jobs/{job_id}/attempts"))["items"]
        assert tried[0]["state"] == "LOST"
        assert tried[0]["billable_ms"] == 0
        assert doctor(server) == []


def test_a_frozen_runner_cannot_write_after_its_successor(tmp_path: Path) -> None:
    with running(tmp_path / "data", TRAINSHED_LEASE_S="2", TRAINSHED_HEARTBEAT_S="0.5") as server:
        api = Api(server)
        job_id = api.python(COUNT.format(n=150))
        api.wait(job_id, "RUNNING")
        (pid,) = eventually(lambda: runner_pids(server), 10)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: api.job(job_id)["n_attempts"] == 2, 30, "a second attempt")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        job = api.wait(job_id, timeout_s=60)
        assert job["state"] == "SUCCEEDED"
        assert job["n_attempts"] == 2
        assert api.logs(job_id).split() == [b"%d" % i for i in range(150)]
        assert doctor(server) == []


def test_what_a_dead_runner_had_not_sent_is_read_from_its_file(tmp_path: Path) -> None:
    code = (
        "import os, time\nprint('begun', flush=True)\n"
        "if os.environ['TRAINSHED_ATTEMPT'] == '1':\n"
        "    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    for i in range(50_000): print(i, 'x' * 40)\n"
        "    print('end', flush=True)\n    time.sleep(600)\n"
    )
    with running(tmp_path / "data", TRAINSHED_LEASE_S="3", TRAINSHED_HEARTBEAT_S="0.5") as server:
        api = Api(server)
        job_id = api.python(code)
        eventually(lambda: api.logs(job_id) == b"begun\n", 30)
        (place,) = (server.data / "workspaces").iterdir()
        pid = left_handle(place)["pid"]
        os.kill(pid, signal.SIGSTOP)
        (place / "work" / "go").touch()
        file = place / "stdout.log"
        eventually(lambda: file.read_bytes().endswith(b"\nend\n"), 20, "the job has said all")
        said = file.read_bytes()
        os.kill(pid, signal.SIGKILL)
        job = api.wait(job_id, timeout_s=60)
        assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 2)
        params = {"stream": "stdout", "attempt": 1, "raw": "true", "limit": 4 * 1024**2}
        assert api.http.get(f"/v1/jobs/{job_id}/logs", params=params).content == said
        assert doctor(server) == []


def test_killed_template_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        api = Api(server)
        api.wait(api.submit(["true"]))
        pid = template_pid(server)
        os.kill(pid, signal.SIGKILL)
        assert api.wait(api.submit(["true"]), timeout_s=30)["state"] == "SUCCEEDED"


def test_nothing_is_left_of_a_server_that_stops_without_jobs(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        api = Api(server)
        busy = api.python("import time; time.sleep(3)")
        api.wait(busy, "RUNNING")
        pid = template_pid(server)
        server.stop()
        assert template_pid(server) == pid, "it has a job"
        server.start()
        api = Api(server)
        job = api.wait(busy)
        assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 1)
        eventually(lambda: not runner_pids(server), 10)
        server.stop()
        eventually(lambda: not Path(f"/proc/{pid}").exists(), 10, "the template leaves")


def test_killed_job_is_explained(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        api = Api(server)
        job_id = api.python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        job = api.wait(job_id)
        assert job["state"] == "FAILED"
        assert job["reason"] == "signal"
        assert "SIGKILL" in job["message"]


def test_pause_keeps_the_checkpoint_and_resume_continues(tmp_path: Path) -> None:
    code = (
        "import os, time\nfrom pathlib import Path\nimport trainshed_job as job\n"
        "target = Path(os.environ['TRAINSHED_CHECKPOINT_DIR']) / 'n.txt'\n"
        "start = job.resume_from()\n"
        "n = int((Path(start) / 'n.txt').read_text()) if start else 0\n"
        "print('from', n, flush=True)\n"
        "while n < 60:\n"
        "    n += 1\n    target.write_text(str(n)); print(n, flush=True); time.sleep(0.05)\n"
        "    if job.should_stop(): raise SystemExit(0)\n"
    )
    with running(tmp_path / "data") as server:
        api = Api(server)
        job_id = api.python(code)
        eventually(lambda: b"\n10\n" in api.logs(job_id), 20)
        held = api.job(job_id)["held_ucredits"]
        api.ok(api.http.post(f"/v1/jobs/{job_id}/pause"))
        job = api.wait(job_id, "PAUSED")
        assert job["held_ucredits"] == 0
        assert job["captured_ucredits"] > 0
        api.ok(api.http.post(f"/v1/jobs/{job_id}/resume"))
        job = api.wait(job_id)
        assert job["state"] == "SUCCEEDED", job
        assert job["n_attempts"] == 2
        first = int(api.logs(job_id).split()[1])
        assert first >= 10
        tried = api.ok(api.http.get(f"/v1/jobs/{job_id}/attempts"))["items"]
        assert (tried[0]["state"], tried[0]["reason"]) == ("EVICTED", "paused")
        assert tried[1]["resumed_from"]
        assert job["captured_ucredits"] <= held
        assert doctor(server) == []


@pytest.mark.timeout(300)
def test_kill_loop(tmp_path: Path) -> None:
    """Random SIGKILLs of server, runner, template and job; invariants hold after each."""
    seed = int(os.environ.get("TRAINSHED_SEED", str(int(time.time()))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    rounds = 60 if os.environ.get("TRAINSHED_SOAK") == "1" else 6
    with running(tmp_path / "data", TRAINSHED_LEASE_S="2", TRAINSHED_HEARTBEAT_S="0.5") as server:
        jobs: list[str] = []
        for _ in range(rounds):
            api = Api(server)
            jobs += [api.python(COUNT.format(n=chance.randint(1, 60))) for _ in range(3)]
            time.sleep(chance.random() * 0.8)
            target = chance.choice(["server", "runner", "template"])
            if target == "server":
                server.kill()
                server.start()
            elif target == "runner" and (pids := runner_pids(server)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
            elif target == "template":
                with contextlib.suppress(ProcessLookupError, OSError):
                    os.kill(template_pid(server), signal.SIGKILL)
            assert doctor(server) == [], f"seed {seed} after {target}"
        api = Api(server)
        for job_id in jobs:
            job = api.wait(job_id, timeout_s=120)
            assert job["state"] == "SUCCEEDED", (job, f"seed {seed}")
        assert doctor(server) == [], f"seed {seed}"


def test_nothing_outlives_its_data_directory(tmp_path: Path) -> None:
    """Server killed and data removed: runner, template and job end instead of knocking for ever."""
    server = Server(tmp_path / "data", TRAINSHED_HEARTBEAT_S="0.5").start()
    try:
        api = Api(server)
        job_id = api.submit(["python", "orphan.py"], {"orphan.py": b"import time; time.sleep(600)"})
        api.wait(job_id, "RUNNING")
        runners, template = runner_pids(server), template_pid(server)
        assert runners
    finally:
        server.kill()
    shutil.rmtree(server.data)
    gone = [Path(f"/proc/{pid}/exe") for pid in (*runners, template)]
    eventually(lambda: not any(path.exists() for path in gone), 40, "runner and template leave")
    eventually(lambda: not processes_with("orphan.py"), 5, "and the job with them")
