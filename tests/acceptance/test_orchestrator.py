"""The Orchestrator's document, block by block, and real jobs that retry, resume and fire."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.clients import make_venv
from tests.support.server import Server, doctor, eventually, running

from trainshed.runner.launch import SYSTEM_PATH

IMAGES = (
    "gcr.io/my-project/trainer:latest",
    "gcr.io/my-project/nlp-trainer:latest",
    "gcr.io/my-project/llm-trainer:latest",
)
KEYS = {
    "job_id", "name", "image", "command", "schedule", "max_retries", "retry_count",
    "checkpoint_path", "status", "started_at", "completed_at", "error_message", "created_at",
    "updated_at",
}  # fmt: skip
MAPPED = {"TRAINSHED_IMAGES": json.dumps(dict.fromkeys(IMAGES, sys.executable))}
CREATE = """
curl -X POST http://localhost:8000/jobs \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "resnet50-training",
    "image": "gcr.io/my-project/trainer:latest",
    "command": ["python", "train.py", "--model", "resnet50", "--epochs", "100"],
    "schedule": "0 2 * * *",
    "max_retries": 3,
    "checkpoint_path": "/checkpoints/resnet50"
  }'
"""
UPDATE = """
curl -X PUT http://localhost:8000/jobs/train-a1b2c3d4 \\
  -H "Content-Type: application/json" \\
  -d '{
    "schedule": "0 3 * * *",
    "max_retries": 5
  }'
"""
WITH_REQUESTS = """
import requests
BASE_URL = "http://localhost:8000"
job_data = {
    "name": "bert-finetuning",
    "image": "gcr.io/my-project/nlp-trainer:latest",
    "command": ["python", "finetune.py", "--model", "bert-base"],
    "schedule": "0 3 * * *",
    "max_retries": 2
}
response = requests.post(f"{BASE_URL}/jobs", json=job_data)
job = response.json()
print(f"Created job: {job['job_id']}")
response = requests.get(f"{BASE_URL}/jobs")
jobs = response.json()
print(f"Total jobs: {jobs['total']}")
job_id = job['job_id']
response = requests.get(f"{BASE_URL}/jobs/{job_id}")
job_details = response.json()
print(f"Job status: {job_details['status']}")
response = requests.delete(f"{BASE_URL}/jobs/{job_id}")
print(f"Deleted job: {response.status_code == 204}")
"""
WITH_HTTPX = """
import asyncio
import httpx
BASE_URL = "http://localhost:8000"
async def main():
    async with httpx.AsyncClient() as client:
        job_data = {
            "name": "gpt-training",
            "image": "gcr.io/my-project/llm-trainer:latest",
            "command": ["python", "train_gpt.py"],
            "schedule": "0 4 * * *"
        }
        response = await client.post(f"{BASE_URL}/jobs", json=job_data)
        job = response.json()
        print(f"Created job: {job['job_id']}")
        response = await client.get(f"{BASE_URL}/stats")
        stats = response.json()
        print(f"Stats: {stats}")
asyncio.run(main())
"""
MONITOR = """
import requests
import time
BASE_URL = "http://localhost:8000"
def monitor_jobs():
    while True:
        response = requests.get(f"{BASE_URL}/stats")
        stats = response.json()
        print(f"Running: {stats['running']}, Failed: {stats['failed']}")
        if stats['failed'] > 0:
            print("Failed jobs detected!")
        time.sleep(60)
if __name__ == "__main__":
    monitor_jobs()
"""
TRAINER = """
import os, sys, time
folder = os.environ["CHECKPOINT_DIR"]
print("ARGS", sys.argv[1:], flush=True)
print("JOB", os.environ["JOB_ID"], "DIR", folder, flush=True)
print("HAD", sorted(os.listdir(folder)), flush=True)
with open(os.path.join(folder, "epoch-%d" % len(os.listdir(folder))), "w") as f:
    f.write("weights")
sys.exit(3)
"""


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in open mode, as its document describes it by default."""
    data = tmp_path_factory.mktemp("orchestrator") / "data"
    with running(data, TRAINSHED_ORCHESTRATOR_BACKOFF_S="1", **MAPPED) as one:
        yield one
        assert doctor(one) == []


@pytest.fixture
def http(open_server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=open_server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the two public HTTP clients that the document uses."""
    folder = tmp_path_factory.mktemp("peers")
    done = make_venv(folder, "requests", "httpx")
    if done.returncode:
        pytest.skip("requests and httpx cannot be installed here: " + done.stderr[-200:])
    return folder / "bin" / "python"


def curl(server: Server, block: str) -> tuple[int, Any]:
    """Run a documented curl command against ``server``; return status and body."""
    text = block.strip().replace("http://localhost:8000", server.url)
    shown = ["bash", "-c", text + " -s -w '\\n%{http_code}'"]
    done = subprocess.run(shown, capture_output=True, text=True, timeout=30, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body.strip() else None


def body(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "image": IMAGES[0], "command": ["python", "-c", "print('ran')"],
        "schedule": "0 2 1 1 *", **more,
    }  # fmt: skip


def make(http: httpx2.Client, name: str, **more: Any) -> str:
    made = http.post("/jobs", json=body(name, **more))
    assert made.status_code == 201, made.text
    return str(made.json()["job_id"])


def until(http: httpx2.Client, job_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = http.get(f"/jobs/{job_id}").json()
        return found if found["status"] in states else None

    found: dict[str, Any] = eventually(look, timeout_s, f"{job_id} → {states}")
    return found


def test_every_curl_block_answers_as_documented(open_server: Server) -> None:
    status, health = curl(open_server, "curl http://localhost:8000/health")
    assert (status, health["status"]) == (200, "healthy")
    assert set(health) == {"status", "timestamp", "service", "database_connected"}
    assert health["service"] == "training-orchestrator-api"
    status, job = curl(open_server, CREATE)
    assert status == 201
    assert set(job) >= KEYS
    assert job["status"] == "pending"
    assert (job["retry_count"], job["max_retries"]) == (0, 3)
    assert job["started_at"] is job["completed_at"] is job["error_message"] is None
    assert job["job_id"].startswith("train-")
    assert len(job["job_id"]) == len("train-") + 8
    assert job["created_at"].endswith("+00:00")
    for path in ("", "?status_filter=completed", "?page=1&page_size=10", "?status=pending"):
        status, found = curl(open_server, f'curl "http://localhost:8000/jobs{path}"')
        assert status == 200
        assert set(found) == {"jobs", "total", "page", "page_size"}
        assert all(set(one) >= KEYS for one in found["jobs"])
    one = job["job_id"]
    status, shown = curl(open_server, f"curl http://localhost:8000/jobs/{one}")
    assert (status, shown) == (200, job)
    status, changed = curl(open_server, UPDATE.replace("train-a1b2c3d4", one))
    assert (status, changed["schedule"], changed["max_retries"]) == (200, "0 3 * * *", 5)
    assert curl(open_server, CREATE)[0] == 409
    status, stats = curl(open_server, "curl http://localhost:8000/stats")
    assert status == 200
    assert set(stats) == {"total_jobs", "pending", "running", "completed", "failed", "retrying"}
    assert stats["total_jobs"] == sum(v for k, v in stats.items() if k != "total_jobs")
    retry = f"curl -X POST http://localhost:8000/jobs/{one}/retry"
    assert curl(open_server, retry)[0] == 409
    with httpx2.Client(base_url=open_server.url) as http:
        assert http.put(f"/jobs/{one}", json={"max_retries": 0}).status_code == 200
        assert http.post(f"/jobs/{one}/run-now").status_code == 200
        until(http, one, "failed")
        status, again = curl(open_server, retry)
        assert status == 200
        assert again["status"] == "pending"
        assert (again["retry_count"], again["error_message"]) == (0, None)
        assert again["message"]
        until(http, one, "failed")
    status, gone = curl(open_server, f"curl -X DELETE http://localhost:8000/jobs/{one}")
    assert (status, gone) == (204, None)
    status, error = curl(open_server, f"curl http://localhost:8000/jobs/{one}")
    assert status == 404
    assert error == {"detail": f"Job {one} not found", "error_type": "NotFoundError"}


def test_the_python_blocks_run_with_the_public_clients(open_server: Server, peers: Path) -> None:
    def run(block: str) -> str:
        text = block.replace("http://localhost:8000", open_server.url)
        done = subprocess.run(
            [peers, "-c", text], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run(WITH_REQUESTS)
    assert "Created job: train-" in said
    assert "Job status: pending" in said
    assert "Deleted job: True" in said
    said = run(WITH_HTTPX)
    assert "Created job: train-" in said
    assert "'total_jobs'" in said
    stop = "import time\ndef once(_):\n    raise SystemExit(0)\ntime.sleep = once\n"
    assert "Running: " in run(stop + MONITOR)


def test_the_pipeline_block_with_a_commit_in_name_and_tag(http: httpx2.Client) -> None:
    sha = "3f2a" * 10
    made = http.post(
        "/jobs",
        json=body(f"model-training-{sha}", image=f"gcr.io/my-project/trainer:{sha}",
                  schedule="*/5 * * * *", max_retries=3),
    )  # fmt: skip
    assert made.status_code == 201
    assert made.json()["next_run_at"]
    assert http.delete(f"/jobs/{made.json()['job_id']}").status_code == 204


#: What must say why.
WHY = ("retrying", "failed")


def test_a_failing_job_runs_three_times_and_resumes(http: httpx2.Client) -> None:
    command = ["python", "-c", TRAINER, "--epochs", "3"]
    job = make(http, "fails", command=command, max_retries=2, checkpoint_path="/checkpoints/fails")
    assert http.post(f"/jobs/{job}/run-now").status_code == 200
    seen: list[str] = []

    def ended() -> bool:
        found = http.get(f"/jobs/{job}").json()
        if found["status"] not in seen:
            seen.append(found["status"])
        assert isinstance(found["error_message"], str) or found["status"] not in WHY
        return found["status"] == "failed"

    eventually(ended, 60, "three failures")
    assert "retrying" in seen
    found = http.get(f"/jobs/{job}").json()
    assert found["retry_count"] == 2
    assert isinstance(found["error_message"], str)
    attempts = http.get(f"/jobs/{job}/attempts").json()["attempts"]
    assert [(a["attempt"], a["status"], a["exit_code"]) for a in attempts] == [
        (3, "failed", 3), (2, "failed", 3), (1, "failed", 3),
    ]  # fmt: skip
    assert [a["resumed"] for a in attempts] == [True, True, False]
    for number in (1, 2, 3):
        text = http.get(f"/jobs/{job}/logs", params={"attempt": number}).json()["logs"]
        folder = text.split("DIR ")[1].split("\n")[0]
        flag = [] if number == 1 else ["--resume-from-checkpoint", folder]
        assert f"ARGS {['--epochs', '3', *flag]}" in text
        assert f"JOB {job} " in text
        assert f"HAD {[f'epoch-{n}' for n in range(number - 1)]}" in text
        if attempts[3 - number]["isolation"] == "strong":
            assert folder == "/checkpoints/fails"
    # The volume is the account's: the next run of the schedule begins with it, without the flag.
    again = make(http, "fails-too", command=command, max_retries=0,
                 checkpoint_path="/checkpoints/fails")  # fmt: skip
    http.post(f"/jobs/{again}/run-now")
    until(http, again, "failed")
    text = http.get(f"/jobs/{again}/logs").json()["logs"]
    assert "HAD ['epoch-0', 'epoch-1', 'epoch-2']" in text
    assert "ARGS ['--epochs', '3']" in text


@pytest.mark.parametrize("path", ["/usr/bin", "/etc", "/", "relative/dir", "/tmp/x", "/proc/1"])
def test_a_volume_never_covers_what_the_system_needs(http: httpx2.Client, path: str) -> None:
    made = http.post("/jobs", json=body("odd" + path.replace("/", "-"), checkpoint_path=path))
    if path == "/":
        assert made.status_code == 400
        return
    job = made.json()["job_id"]
    http.post(f"/jobs/{job}/run-now")
    assert until(http, job, "completed", "failed")["status"] == "completed"


def test_an_image_that_cannot_be_had_fails_the_run_and_says_why(http: httpx2.Client) -> None:
    job = make(http, "no-image", image="localhost/absent:1", max_retries=0)
    http.post(f"/jobs/{job}/run-now")
    found = until(http, job, "failed")
    engine = any(shutil.which(name, path=SYSTEM_PATH) for name in ("podman", "docker"))
    assert ("localhost/absent" if engine else "Install podman") in found["error_message"]
    assert found["started_at"] is None


def test_a_minute_fires_once_and_not_again_after_kill_and_restart(tmp_path: Path) -> None:
    with running(tmp_path / "data", **MAPPED) as server:
        with httpx2.Client(base_url=server.url, timeout=30) as http:
            job = make(http, "minutely", schedule="* * * * *")
            due = http.get(f"/jobs/{job}").json()["next_run_at"]

            def fired() -> list[Any]:
                found: list[Any] = http.get(f"/jobs/{job}/attempts").json()["attempts"]
                return found

            (attempt,) = eventually(fired, 75, "the next minute fires")
            assert attempt["due_at"] == due
            assert time.time() - datetime.fromisoformat(due).timestamp() < 15
        server.kill()
        server.start()
        with httpx2.Client(base_url=server.url, timeout=30) as http:
            assert until(http, job, "completed")["error_message"] is None
            now = datetime.now().astimezone()
            found = http.get(f"/jobs/{job}/attempts").json()["attempts"]
            dues = [a["due_at"] for a in found if a["attempt"] == 1]
            assert len(dues) == len(set(dues))
            assert dues[-1] == due
            minutes = int(now.timestamp() // 60 - datetime.fromisoformat(due).timestamp() // 60)
            assert len(dues) <= 1 + minutes
        assert doctor(server) == []


def test_env_file_names_of_the_document(tmp_path: Path) -> None:
    lines = (
        "ENABLE_API_AUTH=true\nAPI_KEY=a-very-long-shared-key\nLOG_LEVEL=WARNING\nMAX_WORKERS=1\n"
    )
    (tmp_path / ".env").write_text(lines)
    with running(tmp_path / "data", **MAPPED) as server:
        http = httpx2.Client(base_url=server.url, timeout=30)
        refused = http.get("/jobs")
        assert refused.status_code == 401
        assert set(refused.json()) == {"detail", "error_type"}
        assert http.get("/health").status_code == 200
        assert http.get("/docs").status_code == 200
        shared = {"X-API-Key": "a-very-long-shared-key"}
        sleepy = body("one", command=["python", "-c", "import time; time.sleep(30)"])
        ids = []
        for name in ("one", "two"):
            made = http.post("/jobs", json={**sleepy, "name": name}, headers=shared)
            assert made.status_code == 201
            ids.append(made.json()["job_id"])
            http.post(f"/jobs/{ids[-1]}/run-now", headers=shared)
        bearer = {"Authorization": "Bearer a-very-long-shared-key"}

        def running_now() -> bool:
            return bool(http.get("/stats", headers=bearer).json()["running"] == 1)

        eventually(running_now, 30, "one runs")
        time.sleep(1)
        assert http.get("/stats", headers=bearer).json()["running"] == 1
        # It is the account local: the admin's own key sees none of it, and rules nothing with it.
        admin = {"Authorization": f"Bearer {server.credentials['api_key']}"}
        assert http.get("/jobs", headers=admin).json()["total"] == 0
        assert http.get(f"/jobs/{ids[0]}", headers=admin).status_code == 404
        assert http.get("/v1/jobs", headers=shared).status_code == 401
        http.close()
        assert "a-very-long-shared-key" not in server.log()


def test_the_front_page_serves_both_kinds_of_client(http: httpx2.Client) -> None:
    asked = http.get("/", headers={"Accept": "*/*"}).json()
    assert {"status", "timestamp", "service", "database_connected"} <= set(asked)
    page = http.get("/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert f"trainshed login {str(http.base_url).rstrip('/')}" in page.text
    for path in ("/docs", "/redoc"):
        assert f'href="{path}"' in page.text
