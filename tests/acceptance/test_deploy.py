"""``deploy/Containerfile`` built and started as ``compose.yaml`` says, by a real engine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from tests.support.images import Engine
from tests.support.server import Api, Server, eventually

ROOT = Path(__file__).resolve().parents[2]
BASE, IMAGE = "localhost/trainshed-test/base:1", "localhost/trainshed-test/trainshed:1"
#: A machine may not let an engine raise these; compose leaves them to the engine's own settings.
#: A network that leaves nothing behind on the machine, unlike the engine's own bridge.
NETWORK = "--network=slirp4netns"
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
#: An interpreter for the Orchestrator's image, and a lease that does not have to be waited for.
MORE = {
    "TRAINSHED_IMAGES": '{"example/trainer:1": "/opt/trainshed/bin/python"}',
    "TRAINSHED_LEASE_S": "5",
    "TRAINSHED_HEARTBEAT_S": "1",
}


class Box(Server):
    """The container of the compose file's one service, its data in a volume of its own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(folder / "data")
        self.engine, self.name = engine, "trainshed-deployed"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"

    def begin(self) -> None:
        """As ``compose up`` does."""
        flags = options(yaml.safe_load((ROOT / "compose.yaml").read_text()), self.port)
        more = [f"--env={k}={v}" for k, v in MORE.items()]
        self.engine.run(
            "run", "--detach", f"--name={self.name}", NETWORK, *flags, *ULIMITS, *more, IMAGE
        )

    def inside(self, *words: str, check: bool = True) -> str:
        """Run a command in the container."""
        return self.engine.run("exec", self.name, *words, check=check).stdout

    def wait(self) -> None:
        """Return once it answers and the engine finds it healthy, by its own check."""

        def healthy() -> bool:
            try:
                httpx2.get(f"{self.url}/v1/health", timeout=5)
            except httpx2.TransportError:
                return False
            done = self.engine.run("healthcheck", "run", self.name, check=False)
            said.append(done.stdout + done.stderr)
            if done.returncode:
                time.sleep(1)
            return done.returncode == 0

        said = [""]
        try:
            eventually(healthy, 240, "healthy")
        except AssertionError as error:
            found = self.engine.run("container", "inspect", "--format={{json .State}}", self.name)
            why = f"{said[-1]}\n{found.stdout}\n{self.log()[-4000:]}"
            raise AssertionError(f"{error}\n{why}") from error

    def state(self, field: str) -> str:
        """Return a field of what the engine knows of it."""
        return self.engine.run(
            "container", "inspect", f"--format={{{{.State.{field}}}}}", self.name
        ).stdout.strip()

    def log(self) -> str:
        done = self.engine.run("logs", self.name)
        return done.stdout + done.stderr

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.inside("cat", "/data/credentials.json"))
        return found


def options(compose: dict[str, Any], port: int) -> list[str]:
    """Return what the service's keys are for ``podman run``; an unknown key is an error."""
    (service,) = compose["services"].values()
    known = {
        "build": lambda _: [],
        "image": lambda _: [],
        "stop_grace_period": lambda v: [f"--stop-timeout={int(v.removesuffix('s'))}"],
        "restart": lambda v: [f"--restart={v}"],
        "read_only": lambda v: ["--read-only"] if v else [],
        "cap_drop": lambda v: [f"--cap-drop={one}" for one in v],
        "security_opt": lambda v: [f"--security-opt={one.split(':')[0]}" for one in v],
        "tmpfs": lambda v: [f"--tmpfs={one}" for one in v],
        "volumes": lambda v: [f"--volume=trainshed-test-{one}" for one in v],
        "ports": lambda v: [f"--publish={one.replace(':8000:', f':{port}:')}" for one in v],
        "environment": lambda v: [
            f"--env={k}={str(w).replace(':8000', f':{port}')}" for k, w in v.items()
        ],
        "healthcheck": lambda _: [],  # the image's own; tests/house compares the two
    }
    return [word for key, value in service.items() for word in known[key](value)]


@pytest.fixture(scope="module")
def image(containers: Engine) -> str:
    """Build the image; its base is this machine's Python, its packages the locked wheels."""
    with tempfile.TemporaryDirectory(prefix="wheels-") as folder:
        wheels = Path(folder) / "wheels"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--requirement", str(ROOT / "deploy" / "requirements.lock"), "--dest", str(wheels)],
            check=True, timeout=240, capture_output=True,
        )  # fmt: skip
        pip = Path(folder) / "pip.conf"
        pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        containers.build(BASE, python=True, venv=True)
        containers.run(
            "build", "--quiet", "--format=docker", "--layers=false", "--network=none",
            "--pull=never", *ULIMITS, f"--build-arg=BASE={BASE}", f"--volume={wheels}:/wheels:ro",
            f"--volume={pip}:/etc/pip.conf:ro", f"--file={ROOT / 'deploy' / 'Containerfile'}",
            f"--tag={IMAGE}", str(ROOT), timeout_s=400,
        )  # fmt: skip
    return IMAGE


@pytest.fixture(scope="module")
def box(containers: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    one = Box(containers, tmp_path_factory.mktemp("box"))
    one.begin()
    one.wait()
    yield one
    for client in one.clients:
        client.close()
    containers.run("rm", "--force", "--time=0", one.name)


def it_is_healthy_and_has_no_rights(box: Box) -> None:
    assert box.state("Health.Status") == "healthy"
    assert box.inside("id", "-u").strip() == "10001"
    status = dict(line.split(":\t", 1) for line in box.inside("cat", "/proc/1/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for path in ("/etc/x", "/opt/trainshed/x"):
        assert box.engine.run("exec", box.name, "touch", path, check=False).returncode != 0


def jobs_run_inside(box: Box) -> None:
    api = Api(box)
    job = api.wait(api.python("import os, trainshed_job; print('uid', os.getuid())"))
    assert job["state"] == "SUCCEEDED", (job, box.log())
    assert api.logs(job["id"]) == b"uid 10001\n"
    # What docs/operations.md says of jobs in this container.
    assert (job["attempt"]["isolation"], job["attempt"]["network"]) == ("none", "host")
    closed = api.wait(api.submit(["true"], network="none"))
    assert closed["state"] == "FAILED"
    assert "must have no network" in closed["message"]
    assert "sandbox                none" in box.inside("trainshed", "doctor")


def the_orchestrator_runs_a_job(box: Box) -> None:
    http = box.client()
    body = {
        "name": "deployed", "image": "example/trainer:1", "schedule": "0 2 1 1 *",
        "command": ["python", "-c", "print('epoch 1')"],
    }  # fmt: skip
    made = http.post("/jobs", json=body)
    assert made.status_code == 201, made.text
    where = f"/jobs/{made.json()['job_id']}"
    assert http.post(f"{where}/run-now").status_code == 200
    eventually(lambda: http.get(where).json()["status"] in ("completed", "failed"), 60)
    assert http.get(where).json()["status"] == "completed", (http.get(where).text, box.log())
    assert http.get(f"{where}/logs").json()["logs"] == "epoch 1\n"


def it_stops_in_order_and_keeps_its_data(box: Box) -> None:
    api, before = Api(box), box.credentials
    done = api.wait(api.submit(["true"]))
    code = "import os, time; time.sleep(0 if os.environ['TRAINSHED_ATTEMPT'] == '2' else 300)"
    begun = api.python(code)
    api.wait(begun, "RUNNING")
    began = time.monotonic()
    box.engine.run("stop", "--time=10", box.name)
    assert time.monotonic() - began < 10
    assert box.state("ExitCode") == "0", box.log()
    box.engine.run("start", box.name)
    box.wait()
    assert box.credentials == before
    assert api.job(done["id"]) == done
    again = api.wait(begun, timeout_s=120)
    assert (again["state"], again["attempt"]["number"]) == ("SUCCEEDED", 2), box.log()
    assert json.loads(box.inside("trainshed", "doctor", "--verify", "--json"))["broken"] == []


@pytest.mark.timeout(600)
def test_the_image_as_compose_starts_it(box: Box) -> None:
    """One test, so that the image is built once however the tests are spread."""
    it_is_healthy_and_has_no_rights(box)
    jobs_run_inside(box)
    the_orchestrator_runs_a_job(box)
    it_stops_in_order_and_keeps_its_data(box)
