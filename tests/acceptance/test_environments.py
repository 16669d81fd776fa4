"""Environments as a user meets them: a real server, a real index, real jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.index import Index, serving
from tests.support.server import Api, running

BUILD_S = 180.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Index]]:
    base = tmp_path_factory.mktemp("shop")
    (base / "index").mkdir()
    with serving(base / "index") as index:
        index.wheel("ware", "WORD = 'from the index'")
        index.wheel("torch", "WORD = 'a stand-in'")
        with running(base / "data", PIP_INDEX_URL=index.url, PIP_FIND_LINKS="") as server:
            yield Api(server), index


def test_a_requirements_file_by_text_and_by_path(shop: tuple[Api, Index]) -> None:
    api, index = shop
    upload = api.upload("project/requirements.txt", b"# mine\nware==1.0\n")
    code = b"import ware; print(ware.WORD)"
    asked = [
        {"kind": "requirements", "value": "ware==1.0\n"},
        {"kind": "requirements_file", "value": "/project/requirements.txt"},
        {"kind": "requirements_file", "value": upload},
    ]
    for environment in asked:
        job_id = api.submit(["python", "job.py"], {"job.py": code}, environment=environment)
        job = api.wait(job_id, timeout_s=BUILD_S)
        assert job["state"] == "SUCCEEDED", api.logs(job_id, "system")
        assert api.logs(job_id) == b"from the index\n"
        assert job["environment"]["kind"] == "requirements"
        assert job["environment"]["value"] == "ware==1.0\n"
        assert "canary-password" not in str(job) + api.server.log()
        receipt = api.ok(api.http.get(f"/v1/jobs/{job_id}/receipt"))
        assert receipt["useful_s"] < 5
    # The same text is the same environment, however it came.
    assert len([path for path in index.asked if path.endswith(".whl")]) == 1


def test_a_build_that_fails_costs_nothing_and_is_not_tried_again(shop: tuple[Api, Index]) -> None:
    api, _ = shop
    before = api.ok(api.http.get("/v1/credits"))["balances"][0]
    environment = {"kind": "requirements", "value": "no-such-thing==1"}
    job_id = api.submit(["true"], environment=environment, retry={"max_retries": 3})
    job = api.wait(job_id, timeout_s=BUILD_S)
    assert (job["state"], job["reason"], job["n_attempts"]) == ("FAILED", "environment", 1)
    assert "no-such-thing==1" in job["message"]
    assert b"no-such-thing==1" in api.logs(job_id, "system")
    assert job["captured_ucredits"] == 0
    assert api.ok(api.http.get("/v1/credits"))["balances"][0] == before


@pytest.mark.parametrize("line", ["-e .", "file:///etc/passwd", "../x", "a @ https://x/y.whl"])
def test_a_hostile_line_is_refused_at_submit(shop: tuple[Api, Index], line: str) -> None:
    api, _ = shop
    environment = {"kind": "requirements", "value": f"ware\n{line}\n"}
    body = {"command": ["true"], "environment": environment}
    refused = api.http.post("/v1/jobs", json=body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["detail"].startswith(f"Line 2 of the requirements, {line!r}")


def test_a_framework_that_is_absent_is_said_before_it_costs(shop: tuple[Api, Index]) -> None:
    api, _ = shop
    body = {"command": ["true"], "environment": {"framework": "nosuch"}}
    refused = api.http.post("/v1/jobs", json=body)
    assert refused.status_code == 400
    assert "pytorch" in refused.json()["detail"]
    environment = {"framework": "tensorflow"}
    job_id = api.python("import tensorflow", environment=environment, retry={"max_retries": 3})
    job = api.wait(job_id)
    assert (job["state"], job["reason"], job["n_attempts"]) == ("FAILED", "environment", 1)
    assert "'tensorflow'" in job["message"]
    assert job["captured_ucredits"] == 0
    assert job["environment"] == {"kind": "default", "value": "", "framework": "tensorflow"}


def test_a_framework_by_the_operators_interpreter(tmp_path: Path) -> None:
    home = tmp_path / "torch-venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next((home / "lib").iterdir()) / "site-packages"
    (site / "torch.py").write_text("WORD = 'the operator has it'")
    mapped = json.dumps({"pytorch": str(home / "bin" / "python")})
    with running(tmp_path / "data", TRAINSHED_ENVIRONMENTS=mapped) as server:
        api = Api(server)
        job_id = api.python("import torch; print(torch.WORD)", environment={"framework": "pytorch"})
        assert api.wait(job_id)["state"] == "SUCCEEDED", api.logs(job_id, "stderr")
        assert api.logs(job_id) == b"the operator has it\n"
