"""Jobs in containers, from submit to receipt: a real server, a real engine, a registry of ours."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.test_isolation import SPY
from tests.acceptance.test_network import ABSENT, CODE
from tests.support.images import PYTHON, SHELL, Engine
from tests.support.registry import Registry, registry
from tests.support.server import Api, Server, doctor, eventually, processes_with, running

NO_WAY_OUT = [p for p in ABSENT if p != "bwrap"]

TRAIN = """
import json, os, sys, time, trainshed_job
steps, folder = int(sys.argv[1]), os.environ["TRAINSHED_CHECKPOINT_DIR"]
start, earlier = 0, os.environ.get("TRAINSHED_RESUME_FROM")
if earlier:
    start = json.load(open(earlier + "/state.json"))["step"]
    print("resumed at", start, flush=True)
for step in range(start, steps):
    trainshed_job.log(step=step, loss=1 / (step + 1))
    with open(folder + "/state.json.new", "w") as file:
        json.dump({"step": step + 1}, file)
    os.rename(folder + "/state.json.new", folder + "/state.json")
    print("step", step, flush=True)
    if trainshed_job.should_stop():
        sys.exit(0)
    time.sleep(float(sys.argv[2]))
open(os.environ["TRAINSHED_OUTPUT_DIR"] + "/model.txt", "w").write("trained " + str(steps))
"""


@pytest.fixture(scope="module")
def shop(containers: Engine) -> Iterator[Registry]:
    with tempfile.TemporaryDirectory(prefix="registry-") as folder, registry(Path(folder)) as one:
        yield one


@pytest.fixture(scope="module")
def server(containers: Engine, shop: Registry) -> Iterator[Server]:
    conf = str(shop.folder / "registries.conf")
    with (
        tempfile.TemporaryDirectory(prefix="trainshed-") as folder,
        running(Path(folder) / "data", CONTAINERS_REGISTRIES_CONF=conf) as one,
    ):
        yield one
        assert doctor(one) == []


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server)


def image(name: str) -> dict[str, Any]:
    return {"environment": {"kind": "image", "value": name}}


def train(api: Api, steps: int, wait_s: float, name: str = PYTHON) -> str:
    command = ["python", "train.py", str(steps), str(wait_s)]
    return api.submit(command, {"train.py": TRAIN.encode()}, **image(name))


def digest_of(api: Api, job_id: str) -> list[str]:
    found = api.ok(api.http.get(f"/v1/jobs/{job_id}/attempts"))["items"]
    return [one["image_digest"] for one in found]


def test_a_training_job_in_a_container(api: Api, containers: Engine) -> None:
    job_id = train(api, 3, 0)
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", (job, api.logs(job_id, "stderr"))
    assert job["attempt"]["isolation"] == "strong"
    assert job["attempt"]["image_digest"] == containers.digest(PYTHON)
    assert job["attempt"]["runtime_ms"] > 0
    assert api.logs(job_id).splitlines() == [b"step 0", b"step 1", b"step 2"]
    points = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params={"key": "loss"}))["points"]
    assert [p[0] for p in points] == [0, 1, 2]
    kept = api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"]
    assert len("trained 3") in [one["size_bytes"] for one in kept]
    assert containers.containers(job["attempt"]["id"]) == []


@pytest.mark.skipif(bool(NO_WAY_OUT), reason=f"needs {NO_WAY_OUT}")
def test_a_network_that_leads_out_only(server: Server, api: Api) -> None:
    code = CODE.replace("PORT", str(server.port))
    job_id = api.python(code, network="egress", **image(PYTHON))
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", api.logs(job_id, "stderr")
    assert job["attempt"]["network"] == "egress", api.logs(job_id, "system")
    assert json.loads(api.logs(job_id)) == [job_id, 401, 404, "refused"]
    look = ["sh", "-c", "cat /etc/resolv.conf"]
    seen = api.submit(look, network="egress", **image(PYTHON))
    assert api.wait(seen)["state"] == "SUCCEEDED", api.logs(seen, "stderr")
    assert b"nameserver 192.0.2.3" in api.logs(seen)


def test_a_failing_container_says_how(api: Api) -> None:
    job = api.wait(api.submit(["sh", "-c", "exit 9"], **image(SHELL)))
    assert (job["state"], job["attempt"]["exit_code"]) == ("FAILED", 9)
    killed = api.wait(api.submit(["sh", "-c", "kill -9 $$"], **image(SHELL)))
    assert (killed["attempt"]["signal"], killed["reason"]) == (9, "signal")


def test_pause_and_resume_from_the_checkpoint(api: Api) -> None:
    job_id = train(api, 40, 0.1)
    eventually(lambda: b"step 2" in api.logs(job_id))
    api.ok(api.http.post(f"/v1/jobs/{job_id}/pause"))
    api.wait(job_id, "PAUSED")
    seen = api.logs(job_id).count(b"step")
    assert 3 <= seen < 40
    api.ok(api.http.post(f"/v1/jobs/{job_id}/resume"))
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", job
    log = api.logs(job_id)
    assert b"resumed at %d" % seen in log
    assert log.count(b"step") == 40 - seen
    assert len(set(digest_of(api, job_id))) == 1


def test_cancel_ends_one_who_ignores_sigterm(api: Api, containers: Engine) -> None:
    code = "trap '' TERM; echo ready; while :; do sleep 8.0625; done"
    job_id = api.submit(["sh", "-c", code], grace_s=1, **image(SHELL))
    eventually(lambda: b"ready" in api.logs(job_id))
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    job = api.wait(job_id, "CANCELLED")
    assert processes_with("8.0625") == []
    assert containers.containers(job["attempt"]["id"]) == []


def test_kill_9_of_the_server_then_of_the_runner(
    containers: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = "localhost/trainshed-test/survivor"
    containers.build(f"{name}:1", python=True, marker="old")
    old = containers.digest(f"{name}:1")
    with tempfile.TemporaryDirectory(prefix="trainshed-") as folder:
        data = Path(folder) / "data"
        with running(data, TRAINSHED_LEASE_S="4", TRAINSHED_HEARTBEAT_S="0.5") as one:
            api = Api(one)
            job_id = train(api, 150, 0.1, f"{name}:1")
            eventually(lambda: b"step 1\n" in api.logs(job_id))
            api.ok(api.http.post(f"/v1/jobs/{job_id}/checkpoint"))
            one.kill()
            one.start()
            api = Api(one)
            job = api.wait(job_id, "RUNNING")
            first = job["attempt"]["id"]
            eventually(lambda: b"step 30\n" in api.logs(job_id))
            assert api.job(job_id)["attempt"]["id"] == first
            containers.build(f"{name}:1", python=True, marker="new")
            assert containers.digest(f"{name}:1") != old
            (runner,) = _runners(data, first)
            os.kill(runner, signal.SIGKILL)
            eventually(lambda: api.job(job_id)["attempt"]["id"] != first, 60)
            assert containers.containers(first) == []
            job = api.wait(job_id, timeout_s=90)
            assert job["state"] == "SUCCEEDED", job
            assert digest_of(api, job_id) == [old, old]
            assert doctor(one) == []


def _runners(data: Path, attempt_id: str) -> list[int]:
    from trainshed.executors.process.procs import left_handle

    return [left_handle(data / "workspaces" / attempt_id)["pid"]]


def test_a_private_image_needs_the_accounts_login(
    api: Api, server: Server, shop: Registry, containers: Engine
) -> None:
    name = f"{shop.name}/team/private"
    digest = shop.publish(containers, SHELL, "team/private", "1")
    shop.login = "robot:canary-pass-4711"
    refused = api.wait(api.submit(["true"], **image(f"{name}:1")))
    assert (refused["state"], refused["reason"]) == ("FAILED", "environment")
    assert "store a login" in refused["message"]
    assert str(server.data) not in refused["message"]
    login = {"registry": shop.name, "username": "robot", "password": "canary-pass-4711"}
    stored = api.ok(api.http.put("/v1/registries", json=login))
    listed = api.ok(api.http.get("/v1/registries"))["items"]
    assert listed == [stored]
    assert "canary" not in json.dumps(listed)
    shop.gate.clear()
    job_id = api.submit(["sh", "-c", "echo in; sleep 2"], **image(f"{name}:1"))
    eventually(lambda: any("/blobs/" in path for path in shop.asked))
    assert b"Pulling the image" in eventually(lambda: api.logs(job_id, "system"))
    assert processes_with("canary-pass-4711") == []
    shop.gate.set()
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", job
    assert job["attempt"]["image_digest"] == digest
    assert job["attempt"]["runtime_ms"] < 30_000
    assert _files_with(server.data, b"canary-pass-4711") == []
    assert "canary-pass-4711" not in server.log()
    gone = api.http.delete(f"/v1/registries/{shop.name}")
    assert gone.status_code == 204
    shop.login = None


def _files_with(folder: Path, secret: bytes) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and secret in path.read_bytes():
                found.append(path)
        except OSError:
            continue
    return found


def test_an_image_that_the_registry_does_not_have(api: Api, shop: Registry) -> None:
    job = api.wait(api.submit(["true"], **image(f"{shop.name}/team/none:1")))
    assert (job["state"], job["reason"]) == ("FAILED", "environment")
    assert f"There is no image {shop.name}/team/none:1" in job["message"]


def test_cancel_during_a_pull(api: Api, shop: Registry, containers: Engine) -> None:
    containers.build("localhost/trainshed-test/slow:1", marker="slow")
    shop.publish(containers, "localhost/trainshed-test/slow:1", "team/slow", "1")
    shop.gate.clear()
    job_id = api.submit(["true"], **image(f"{shop.name}/team/slow:1"))
    eventually(lambda: any("team/slow/blobs" in path for path in shop.asked))
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    job = api.wait(job_id, "CANCELLED")
    shop.gate.set()
    assert job["attempt"]["runtime_ms"] == 0
    assert processes_with("team/slow:1") == []


def test_a_job_in_a_container_reads_nothing_of_the_server(server: Server, api: Api) -> None:
    secrets = [str(p) for p in (server.data / "secrets").iterdir()]
    paths = [
        str(server.data), str(server.data / "trainshed.db"), str(server.data / "workspaces"),
        str(server.data / "credentials.json"), "/etc/shadow", "/run/docker.sock",
        "/run/podman/podman.sock", "/root", "/var/lib/containers", *secrets,
    ]  # fmt: skip
    spy = {"job.py": SPY.encode(), "paths.json": json.dumps(paths).encode()}
    job_id = api.submit(["python", "job.py"], spy, **image(PYTHON))
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED", (job, api.logs(job_id, "stderr"))
    found = json.loads(api.logs(job_id))
    assert found["read"] == {}
    assert len(found["pids"]) <= 3
    assert found["uid"] != 0
    text = json.dumps(found)
    assert str(server.data) not in text
    for secret in server.credentials.values():
        assert secret not in text or secret in ("admin", server.url)


@pytest.mark.parametrize(
    "name",
    [
        "", "-v/:/host", "--privileged", "a b", "A/b", "x/../y", "docker://x/y", "dir:/etc", "x:",
        "localhost/x@sha256:12", "x/y:tag\n", "$(id)", "x" * 600, "/x", "x//y", "é/x",
        "oci-archive:/x", "x/y:-v",
    ],
)  # fmt: skip
def test_hostile_image_names_are_refused_at_submit(api: Api, name: str) -> None:
    body = {"command": ["true"], **image(name)}
    answer = api.http.post("/v1/jobs", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_input"
