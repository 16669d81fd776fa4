"""SECURITY 35 and 39: a job reads nothing of the server or of another job. Runs for real."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.server import Api, Server, running

SPY = """
import glob, json, os, sys
found = {"environ": {}, "read": {}, "uid": os.getuid(), "env": dict(os.environ), "pids": []}
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        found["environ"][path] = open(path, "rb").read().decode("latin1")
    except OSError as e:
        pass
found["pids"] = [p for p in os.listdir("/proc") if p.isdigit()]
for path in json.load(open("paths.json")):
    try:
        if os.path.isdir(path):
            found["read"][path] = os.listdir(path)
        else:
            found["read"][path] = open(path, "rb").read(64).decode("latin1")
    except OSError as e:
        pass
found["fds"] = {}
for fd in os.listdir("/proc/self/fd"):
    try: found["fds"][fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError: pass
print(json.dumps(found))
"""


def test_a_job_reads_nothing_of_the_server(server: Server, api: Api) -> None:
    data = server.data
    (data / "canary").write_text("canary-in-data")
    secrets = [str(p) for p in (data / "secrets").iterdir()]
    paths = [
        str(data / "trainshed.db"), str(data / "credentials.json"), str(data / "canary"),
        str(data / "secrets"), str(data / "blobs"), str(data / "run"), str(data / "workspaces"),
        str(data), "/etc/shadow", "/var/run/docker.sock", "/run/docker.sock", "/root/.ssh",
        *secrets,
    ]  # fmt: skip
    spy = {"job.py": SPY.encode(), "paths.json": json.dumps(paths).encode()}
    job_id = api.submit(["python", "job.py"], spy)
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", (job, api.logs(job_id, "stderr"))
    found = json.loads(api.logs(job_id))
    credentials = json.dumps(server.credentials)
    shells = {str(data): {"workspaces", "run"}, str(data / "run"): {"job-lib"}}
    for path, names in shells.items():
        assert set(found["read"].pop(path, [])) <= names
    leaked = {p: v for p, v in found["read"].items() if p != str(data / "workspaces")}
    assert not leaked, leaked
    own = [job["attempt"]["id"]]
    assert set(found["read"].get(str(data / "workspaces"), own)) <= set(own)
    for text in found["environ"].values():
        for secret in json.loads(credentials).values():
            assert secret not in text or secret in ("admin", server.url)
    names = set(found["env"])
    allowed = {
        "HOME", "TMPDIR", "PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "LANG", "PWD", "JOB_ID",
        "CHECKPOINT_DIR", "OUTPUT_DIR", "CUDA_VISIBLE_DEVICES", "LC_CTYPE", "LC_ALL", "USER",
        "LOGNAME", "SHELL", "VIRTUAL_ENV", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE",
    }  # fmt: skip
    assert {n for n in names if not n.startswith("TRAINSHED_")} <= allowed
    assert not [f for f in found["fds"].values() if "socket:" in f or "trainshed.db" in f]


def test_the_level_is_stated_and_real(api: Api) -> None:
    job_id = api.python(
        "import os; print(os.getuid(), len([p for p in os.listdir('/proc') if p.isdigit()]))"
    )
    job = api.wait(job_id)
    uid, visible = map(int, api.logs(job_id).split())
    level = job["attempt"]["isolation"]
    assert level in ("strong", "partial", "none")
    if level == "strong":
        assert uid != 0
        assert visible < 10
    if level == "partial":
        assert uid != 0 or visible < 10


def test_one_job_cannot_read_anothers_workspace(server: Server, api: Api) -> None:
    victim = api.python(
        "import time; open('mine.txt', 'w').write('canary-victim')\n"
        "print('up', flush=True); time.sleep(20)"
    )
    job = api.wait(victim, "RUNNING")
    workspace = server.data / "workspaces" / job["attempt"]["id"]
    code = (
        f"import os\ntry: print(os.listdir({str(workspace)!r}))\nexcept OSError: print('refused')\n"
    )
    spy = api.python(code)
    api.wait(spy)
    assert api.logs(spy) == b"refused\n"
    api.ok(api.http.post(f"/v1/jobs/{victim}/cancel"))


def test_the_job_token_dies_with_its_attempt_and_reaches_one_job(api: Api) -> None:
    other = api.submit(["true"])
    job_id = api.python(
        "import os; print(os.environ['TRAINSHED_TOKEN'], flush=True); import time; time.sleep(30)"
    )
    api.wait(job_id, "RUNNING")
    from tests.support.server import eventually

    token = eventually(lambda: api.logs(job_id).decode().strip(), 20)
    inside = Api(api.server, token)
    assert inside.http.get(f"/v1/jobs/{job_id}").status_code == 200
    assert inside.http.get(f"/v1/jobs/{other}").status_code == 404
    assert inside.http.get("/v1/keys").status_code in (403, 404)
    assert inside.http.post(f"/v1/jobs/{job_id}/cancel").status_code in (403, 404)
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    api.wait(job_id)
    assert inside.http.get(f"/v1/jobs/{job_id}").status_code == 401


def test_two_servers_on_one_machine_leave_each_others_jobs_alone(api: Api, tmp_path: Path) -> None:
    """Ending one server's jobs by their uid must not end the other's: uids differ by server."""
    mine = api.python("import time; time.sleep(4); print('whole')")
    api.wait(mine, "RUNNING")
    with running(tmp_path / "data") as other:
        theirs = Api(other)
        job_id = theirs.python("import time; time.sleep(60)")
        theirs.wait(job_id, "RUNNING")
    assert api.wait(mine)["state"] == "SUCCEEDED"
    assert api.logs(mine) == b"whole\n"
