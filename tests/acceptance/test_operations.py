"""What an operator does: back up, restore, collect, stop, refuse to start; and no secret is left
lying about (G21, G23, SECURITY 15 and 40).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest
from tests.support.nursery import TRAINSHED, run
from tests.support.server import EXECUTED, Api, Server, doctor, eventually, running

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
#: The shape of every token that the server makes, but a key for Middleman's clients: other tests on
#: this machine run those, and one of them takes its key as an argument.
TOKEN = re.compile(rb"\b(?:ts_|tsr_|tsj_|ses_)[A-Za-z0-9_\-]{12,}")
WRITE = (
    "import os\nprint('said')\n"
    "open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/kept.txt', 'w').write('kept bytes')\n"
)


def verb(*args: object, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a command of the server to its end."""
    if not EXECUTED:
        return run(*map(str, args), timeout_s=timeout_s)
    return subprocess.run(
        [TRAINSHED, *map(str, args)],
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


def download(api: Api, job_id: str, path: str) -> bytes:
    made = api.ok(api.http.post("/v1/downloads", json={"job_id": job_id, "path": path}))
    got = api.http.get(made["url"])
    assert got.status_code == 200, got.text
    return got.content


def test_a_backup_made_under_work_is_restorable(tmp_path: Path) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new"
    with running(tmp_path / "data") as server:
        api = Api(server)
        old = api.python(WRITE)
        api.wait(old)
        busy = api.python("import time\nfor i in range(60): print(i, flush=True); time.sleep(.05)")
        api.wait(busy, "RUNNING")
        more: list[str] = []
        halt = threading.Event()

        def submits() -> None:
            mine = Api(server)
            while not halt.is_set():
                more.append(mine.python(WRITE, resources={"cpus": 0.05}))
                time.sleep(0.1)

        thread = threading.Thread(target=submits)
        thread.start()
        try:
            eventually(lambda: len(more) >= 3, 10)
            before = list(more)
            done = verb("backup", "--data", server.data, copy)
        finally:
            halt.set()
            thread.join(30)
        assert done.returncode == 0, done
        again = verb("backup", "--data", server.data, copy)
        assert again.returncode == 1
        assert "exists" in again.stderr
    begun = time.monotonic()
    done = verb("restore", copy, "--data", new)
    assert done.returncode == 0, done
    assert doctor(Server(new)) == []
    assert new.stat().st_mode & 0o777 == 0o700
    lease = {"TRAINSHED_LEASE_S": "2", "TRAINSHED_HEARTBEAT_S": "0.5"}
    with running(new, **lease) as server:
        assert time.monotonic() - begun < 30
        api = Api(server)
        assert api.job(old)["state"] == "SUCCEEDED"
        assert api.logs(old) == b"said\n"
        assert download(api, old, "kept.txt") == b"kept bytes"
        for job_id in before:
            assert api.wait(job_id)["state"] == "SUCCEEDED"
            assert download(api, job_id, "kept.txt") == b"kept bytes"
        assert api.wait(busy)["state"] == "SUCCEEDED"
        assert doctor(server) == []


def blob_files(data: Path) -> dict[Path, bytes]:
    found = (data / "blobs").glob("*/files/md5/*/*")
    return {path: path.read_bytes() for path in found}


def test_gc_deletes_only_what_nothing_refers_to(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        api = Api(server)
        job_id = api.python(WRITE)
        api.wait(job_id)
        account = api.ok(api.http.get("/v1/me"))["account"]["id"]
        server.stop()
        before = blob_files(server.data)
        assert b"kept bytes" in before.values()
        orphan = server.data / "blobs" / account / "files" / "md5" / "ab" / ("0" * 30)
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(b"nobody's")
        young = verb("gc", "--data", server.data)
        assert young.returncode == 0, young
        assert orphan.exists(), "the default grace keeps what is young"
        swept = verb("gc", "--data", server.data, "--grace-hours", 0)
        assert swept.stdout == "deleted 1 blobs, 8 bytes\n", swept
        assert blob_files(server.data) == before
        server.start()
        assert download(Api(server), job_id, "kept.txt") == b"kept bytes"
        assert doctor(server) == []


def test_sigterm_under_load_ends_soon_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    accepted: list[str] = []
    wrong: list[str] = []
    quick = {"TRAINSHED_RATE_LIMIT_PER_MINUTE": "0"}
    with running(tmp_path / "data", executed=True, **quick) as server:
        key = server.credentials["api_key"]
        follow = server.client()
        slow = Api(server).python("import time\nwhile True: print('x', flush=True); time.sleep(.1)")

        def submits() -> None:
            body = {"command": ["true"], "resources": {"cpus": 0.05}}
            headers = {"Authorization": f"Bearer {key}"}
            with httpx2.Client(base_url=server.url, headers=headers, timeout=20) as http:
                while True:
                    try:
                        answer = http.post("/v1/jobs", json=body)
                    except httpx2.HTTPError:
                        return
                    if answer.status_code == 201:
                        accepted.append(answer.json()["id"])
                    elif answer.status_code not in (429, 503):
                        wrong.append(answer.text)

        threads = [threading.Thread(target=submits) for _ in range(16 if FULL else 6)]
        with follow.stream("GET", f"/v1/jobs/{slow}/logs/follow", timeout=30) as stream:
            assert stream.status_code == 200
            for thread in threads:
                thread.start()
            eventually(lambda: len(accepted) >= (2000 if FULL else 60), 60)
            assert server.process is not None
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(15)
            took = time.monotonic() - began
        for thread in threads:
            thread.join(20)
        print(f"{len(accepted)} accepted; ended in {took:.1f} s")
        assert took <= 10
        assert status == 0
        assert not wrong, wrong[:3]
        server.stop()
        server.start()
        api = Api(server)
        for job_id in accepted:
            assert api.http.get(f"/v1/jobs/{job_id}").status_code == 200
        api.ok(api.http.post(f"/v1/jobs/{slow}/cancel"))
        assert doctor(server) == []


def test_an_end_while_a_job_runs_is_told_as_no_error(tmp_path: Path) -> None:
    """What waits for orders is answered, not cut off."""
    with running(tmp_path / "data") as server:
        api = Api(server)
        job = api.python("import time; print('on', flush=True); time.sleep(60)")
        api.wait(job, "RUNNING")
        assert server.stop() == 0
        assert "graceful shutdown exceeded" not in server.log()
        assert '"level": "error"' not in server.log()
        server.start()
        api = Api(server)
        assert api.http.get(f"/v1/jobs/{job}").json()["n_attempts"] == 1
        api.ok(api.http.post(f"/v1/jobs/{job}/cancel"))
        api.wait(job)


def test_refuses_to_listen_beyond_loopback(tmp_path: Path) -> None:
    both = ("--listen", "127.0.0.1:0", "--listen", "[::]:0")
    for listen in (("--listen", "0.0.0.0:0"), both):
        done = verb("up", "--data", tmp_path / "data", *listen)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "TRAINSHED_ALLOW_REMOTE" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_one_server_for_one_data_directory(server: Server) -> None:
    done = verb("up", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert server.process is not None
    assert f"in use by another server (process {server.process.pid})" in done.stderr
    swept = verb("gc", "--data", server.data)
    assert swept.returncode == 1
    assert "in use by another server" in swept.stderr
    assert "Traceback" not in swept.stderr
    assert Api(server).http.get("/v1/health").status_code == 200


def test_taken_ports(server: Server, tmp_path: Path) -> None:
    taken = f"127.0.0.1:{server.port}"
    done = verb("up", "--data", tmp_path / "one", "--listen", taken)
    assert done.returncode == 1
    assert taken in done.stderr
    assert "--listen" in done.stderr
    assert "Traceback" not in done.stderr
    with running(tmp_path / "two", "--listen", taken) as other:
        assert f"warning: {taken} cannot be used" in other.log()
        assert Api(other).http.get("/v1/me").status_code == 200


def test_files_are_private(server: Server, api: Api) -> None:
    api.wait(api.python(WRITE, env={"A": "b"}))
    assert server.data.stat().st_mode & 0o777 == 0o700
    private = [server.data / "credentials.json", *(server.data / "secrets").rglob("*")]
    private += server.data.glob("trainshed.db*")
    for path in private:
        assert path.stat().st_mode & 0o077 == 0, path
    assert (server.data / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_doctor_looks_at_the_machine(server: Server) -> None:
    done = verb("doctor", "--data", server.data)
    assert done.returncode == 0, done
    for what in ("Python", "SQLite", "sandbox", "limits", "disk", "offer"):
        assert what in done.stdout
    assert doctor(server) == []


def cmdlines() -> dict[int, bytes]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
            except OSError:
                continue
    return found


@pytest.mark.timeout(60)
def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    canary, password = "canary-env-51c7a2e9", "canary-password-8d41f"
    code = (
        "import os, time\nassert os.environ['SECRET'].startswith('canary-')\n"
        "print('up', flush=True)\ntime.sleep(1)\n"
    )
    with running(tmp_path / "data", "--log-level", "debug", executed=True) as server:
        api = Api(server)
        user = {"username": "carol", "password": password, "role": "member"}
        api.ok(api.http.post("/v1/users", json=user))
        wrong = {"username": "carol", "password": password + "-wrong"}
        assert api.http.post("/v1/login", json=wrong).status_code == 401
        session = api.ok(api.http.post("/v1/login", json={k: user[k] for k in wrong}))["token"]
        made = api.ok(api.http.post("/v1/keys", json={"name": "k"}))["secret"]
        bad = {"command": ["true"], "env": {"SECRET": canary}, "resources": {"cpus": "many"}}
        refused = api.http.post("/v1/jobs", json=bad)
        assert refused.status_code == 400
        assert canary not in refused.text
        job_id = api.python(code, env={"SECRET": canary})
        secrets = [canary, password, session, made]
        secrets += [v for k, v in server.credentials.items() if k not in ("url", "username")]
        until = time.monotonic() + 20
        while api.job(job_id)["state"] not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < until
            for pid, line in cmdlines().items():
                assert not [s for s in secrets if s.encode() in line], (pid, line)
                assert not TOKEN.search(line), (pid, line)
        assert api.job(job_id)["state"] == "SUCCEEDED"
        server.stop()
        places = [p for p in server.data.rglob("*") if p.is_file()]
        places.append(tmp_path / "data.log")
        places.remove(server.data / "credentials.json")
        assert any(p.name == "trainshed.db" for p in places)
        for path in places:
            raw = path.read_bytes()
            assert not [s for s in secrets if s.encode() in raw], path
        copy = tmp_path / "copy"
        assert verb("backup", "--data", server.data, copy).returncode == 0
        assert canary.encode() not in (copy / "trainshed.db").read_bytes()


def test_rotated_keys_open_old_secrets_and_a_short_disk_is_announced(tmp_path: Path) -> None:
    data = tmp_path / "data"
    huge = str(2**50 // 4)
    with running(data) as server:
        api = Api(server)
        first = api.python("import os; print(os.environ['SECRET'])", env={"SECRET": "old"})
        api.wait(first)
        server.stop()
        assert verb("rotate", "--data", data).returncode == 0
        server.start()
        api = Api(server)
        again = api.ok(api.http.post(f"/v1/jobs/{first}/retry"))["id"]
        assert api.wait(again)["state"] == "SUCCEEDED"
        assert api.logs(again) == b"old\n"
        server.stop()
        server.env["TRAINSHED_MIN_FREE_BYTES"] = huge
        server.start()
        eventually(lambda: "the disk gets short" in server.log(), 20)
        refused = Api(server).http.post("/v1/jobs", json={"command": ["true"]})
        assert refused.status_code == 507
    assert verb("rotate", "--data", tmp_path / "none").returncode == 1


def test_a_literal_address_counts_for_its_door(server: Server) -> None:
    def counted() -> dict[str, float]:
        text = server.client().get("/metrics").text
        found = re.findall(r'http_requests_total{door="(\w+)",\S+ (\S+)', text)
        return {door: sum(float(n) for d, n in found if d == door) for door, _ in found}

    before = counted()
    for path in ("/jobs", "/stats", "/orchestrator/stats"):
        assert server.client().get(path).status_code == 200
    after = counted()
    assert after["orchestrator"] - before.get("orchestrator", 0) == 3
