"""The public Middleman clients, unmodified, and ours, from key to downloaded model on a real
server.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook
from tests.support.clients import OURS, PINNED, Client, Tenant
from tests.support.server import Server, doctor, eventually, running
from tests.support.sink import sinking

SDKS = ("middleman-ml-0.1.0", "middleman-ml-0.1.1")
CLI = "middleman-cli-0.1.1"
SCRIPT = PINNED / "train.py"
IMAGE = "registry.example.org/trainer:1"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: it gets more than one account."""
    env = {
        "TRAINSHED_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
        "TRAINSHED_IMAGES": json.dumps({IMAGE: sys.executable}),
    }
    with running(tmp_path_factory.mktemp("middleman") / "data", **env) as one:
        yield one


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits.csv and digits.zip, and model.npy: what the script makes of them, undisturbed."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    found = load_digits()
    text = io.StringIO()
    rows = zip(found.target, found.data, strict=True)
    csv.writer(text).writerows([int(y), *map(int, x)] for y, x in rows)
    (folder / "digits.csv").write_text(text.getvalue())
    with zipfile.ZipFile(folder / "digits.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("digits.csv", text.getvalue())
    places = {"OUTPUT_DIR": folder / "out", "CHECKPOINT_DIR": folder / "checkpoints"}
    for place in places.values():
        place.mkdir()
    env = {name: str(place) for name, place in places.items()}
    env |= {"INPUT_DATA_PATH": str(folder / "digits.csv"), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, str(SCRIPT)], env=env, check=True, timeout=120)
    (folder / "out" / "model.npy").rename(folder / "model.npy")
    return folder


def life(client: Client, digits: Path) -> dict[str, Any]:
    return client.script(
        PINNED / "sdk_life.py", script=str(SCRIPT), data=str(digits / "digits.zip")
    )


def check_life(seen: dict[str, Any], home: Path, digits: Path) -> None:
    assert (home / "model.npy").read_bytes() == (digits / "model.npy").read_bytes()
    with zipfile.ZipFile(home / "all.zip") as every:
        assert sorted(every.namelist()) == ["model.npy", "report/accuracy.txt"]
        assert float(every.read("report/accuracy.txt")) > 0.85
    assert seen["reserved"] == seen["held"] == 50 * 2 * 8
    assert seen["position"] >= 0
    assert seen["packages"] == [10.0, 45.0, 160.0]
    assert seen["blob"] == "train.py"
    assert (seen["paused"], seen["resumed"]) == ("paused", "resuming")
    assert seen["paused_list"] == [seen["id"]]
    assert set(seen["statuses"]) <= {"resuming", "running", "checkpointing", "completed"}
    assert "completed" in seen["statuses"]
    final = seen["final"]
    assert (final["status"], final["epoch"], final["retries"]) == ("completed", 12, 0)
    assert (final["script"], final["data"]) == ("/scripts/train.py", "/data/digits.zip")
    resumed = [m for m in seen["log"] if m.startswith("Resumed after epoch")]
    assert len(resumed) == 1, seen["log"]
    epochs = [m for m in seen["log"] if m.startswith("Epoch")]
    assert 12 <= len(epochs) <= 13
    assert "canary-8812" not in str(seen)
    reserved, refunded, status = seen["refund"]
    assert status == "cancelled"
    assert 0 < refunded <= reserved == 10
    assert len(seen["jobs"]) == 2
    assert seen["spent"] == final["cost"] + reserved - refunded
    assert final["cost"] >= 1
    assert all(isinstance(d, str) and d for _, _, d in seen["transactions"])
    assert seen["revoked"] is True
    assert seen["wrong_key"] == "Invalid API key"
    assert [code for code, _ in seen["forbidden"]] == [403, 403]
    assert {name: code for name, (code, _) in seen["errors"].items()} == {
        "status": 404, "terminal": 409, "path": 404, "script": 400, "money": 402,
    }  # fmt: skip
    assert "middleman data upload" in seen["errors"]["script"][1]
    assert "model.npy" in seen["errors"]["path"][1]


def check_download(house: Server, client: Client) -> None:
    """The downloaded model is the committed one."""
    api = house.client(client.tenant.key)
    page = api.get("/v1/jobs", params={"limit": 10}).json()["items"]
    job = next(j for j in page if j["state"] == "SUCCEEDED")
    found = api.get(f"/v1/jobs/{job['id']}/artifacts").json()["items"]
    files = {f["path"]: f["sha256"] for a in found if a["kind"] == "artifact" for f in a["files"]}
    content = (client.home / "model.npy").read_bytes()
    assert files["model.npy"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", [*SDKS, OURS])
def test_sdk_from_key_to_model(house: Server, tmp_path: Path, digits: Path, name: str) -> None:
    client = Client(name, tmp_path, Tenant(house, name.replace(".", "-"), 2000))
    check_life(life(client, digits), tmp_path, digits)
    check_download(house, client)
    assert doctor(house) == []


@pytest.mark.parametrize("name", [*SDKS, OURS])
def test_every_webhook_method(house: Server, tmp_path: Path, name: str) -> None:
    """A real job's events reach a real endpoint, signed as any library can check."""
    client = Client(name, tmp_path, Tenant(house, name.replace(".", "-") + "-hooks", 2000))
    (tmp_path / "train.py").write_text("print('Epoch 1/1, Loss: 0.5')\n")
    with sinking() as sink:
        seen = client.script(
            PINNED / "webhooks.py", script=str(tmp_path / "train.py"), sink=sink.url("/ok")
        )
    assert {e["name"] for e in seen["events"]} >= {"job.completed", "credits.depleted"}
    assert seen["changed"] == {
        "name": "off", "url": sink.url("/ok/moved"), "events": ["*"], "is_active": False
    }  # fmt: skip
    assert (seen["test"]["status"], seen["test"]["response_status"]) == ("delivered", 200)
    assert seen["again"]["status"] == "delivered"
    assert seen["gone"] == 404
    assert sink.at("/ok/other") == sink.at("/ok/moved") == []
    told = [Webhook(seen["secret"]).verify(g.body, g.headers) for g in sink.at("/ok")]
    last = sink.at("/ok")[-1]
    assert Webhook(seen["new_secret"]).verify(last.body, last.headers)["type"] == "test"
    life = sorted((t for t in told if t["type"] != "test"), key=lambda t: t["data"]["seq"])
    assert [t["type"] for t in life if t["type"].startswith("job.")] == [
        "job.queued", "job.started", "job.running", "job.completed"
    ]  # fmt: skip
    assert {t["data"]["job"]["id"] for t in life if "job" in t["data"]} == {seen["job"]}
    ids = {g.id for g in sink.at("/ok")}
    assert {d["id"] for d in seen["deliveries"] if d["status"] == "delivered"} <= ids


@pytest.mark.parametrize("name", SDKS)
def test_every_command_of_the_sdks_cli(
    house: Server, tmp_path: Path, digits: Path, name: str
) -> None:
    client = Client(name, tmp_path, Tenant(house, name.replace(".", "-") + "-cli", 3000))
    cli = client.cli
    assert "Invalid API key" in cli("auth", "mdlm_wrong", ok=False)
    out = cli("auth", client.tenant.key)
    assert "API key configured successfully!" in out
    assert "3,000" in out
    assert "3,000" in cli("whoami")
    assert "No jobs found" in cli("jobs", "list")
    refused = cli("jobs", "create", "train.py", "digits.csv", ok=False)
    assert "API Error (400)" in refused
    assert "middleman data upload train.py" in " ".join(refused.split())
    for file in (SCRIPT, digits / "digits.csv"):
        cli("data", "upload", str(file))
    made = cli(
        "jobs", "create", "/scripts/train.py", "/data/digits.csv", "--name", "My Training Run",
        "--gpu", "a100", "--gpu-count", "2", "--framework", "pytorch", "--max-hours", "8",
    )  # fmt: skip
    assert "Reserved: 800 credits" in made
    found = re.search(r"ID: ([0-9a-f-]{36})", made)
    assert found is not None, made
    short = found[1][:8]
    watched = cli("jobs", "watch", short, "--interval", "1")
    assert "Job finished with status: completed" in watched
    assert re.search(r"epoch 12/12\s+loss=0\.\d{4}", watched)
    shown = cli("jobs", "status", short)
    assert "Epoch: 12/12" in shown
    assert "/scripts/train.py" in shown
    assert "Epoch 12/12" in cli("jobs", "logs", short)
    listed = cli("jobs", "list", "--status", "completed")
    assert short in listed
    assert "a100×2" in listed
    assert "API Error (409)" in cli("jobs", "pause", short, ok=False)
    assert "API Error (409)" in cli("jobs", "resume", short, ok=False)
    (tmp_path / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    cli("data", "upload", "slow.py")
    other = re.search(r"ID: ([0-9a-f-]{36})", cli("jobs", "create", "slow.py", "digits.csv"))
    assert other is not None
    client.tenant.hear(other[1], "begun")
    assert "begun" in cli("jobs", "logs", other[1])
    assert "Status: paused" in cli("jobs", "pause", other[1][:8])
    assert "API Error (409)" in cli("jobs", "pause", other[1][:8], ok=False)
    assert "Status: resuming" in cli("jobs", "resume", other[1][:8])
    client.tenant.hear(other[1], "begun", 2)
    assert cli("jobs", "logs", other[1]).count("begun") == 2
    # Both times it ran count, at the CPU's price: one whole credit of the 40 that were reserved.
    assert "Refunded: 39 credits" in cli("jobs", "cancel", other[1][:8], "-y")
    assert "Balance" in cli("billing", "balance")
    assert "Starter" in cli("billing", "packages")
    assert short in cli("billing", "history")
    link = cli("data", "download-url", short, "--path", "outputs/model.npy")
    assert "/v1/signed/" in link
    key = cli("keys", "create", "CI")
    assert "mdlm_" in key
    listed = cli("keys", "list")
    prefix = re.search(r"CI\W+(mdlm_[0-9a-f]{8}\.\.\.)", listed)
    assert prefix is not None, listed
    cli("keys", "revoke", prefix[1], "-y")
    assert prefix[1] not in cli("keys", "list")
    assert "0.1" in cli("version")


def test_every_command_of_the_other_cli(house: Server, tmp_path: Path, digits: Path) -> None:
    tenant = Tenant(house, "cli", 500)
    sender = Client(SDKS[0], tmp_path / "sender", tenant)
    client = Client(CLI, tmp_path / "home", tenant)
    cli = client.cli
    (client.home / "train.py").write_bytes(SCRIPT.read_bytes())
    assert "Not authenticated" in cli("credits", ok=False)
    cli("configure", "--api-url", tenant.url)
    assert "Authentication failed" in cli("login", "-k", "mdlm_wrong", ok=False)
    assert "Successfully authenticated!" in cli("login", "-k", tenant.key)
    assert "500" in cli("whoami")
    submitted = cli("run", "train.py", "--gpu", "a100-80gb", "--max-runtime", "1", "-w")
    assert "Job submitted successfully!" in submitted
    assert "Job failed:" in submitted
    assert "middleman data upload train.py" in " ".join(submitted.split())
    for file in (SCRIPT, digits / "digits.csv"):
        sender.cli("data", "upload", str(file), env={"MIDDLEMAN_API_KEY": tenant.key})
    submitted = cli(
        "run", "train.py", "-f", "custom", "-e", "INPUT_DATA_PATH=digits.csv", "-t", "1", "-w"
    )
    assert "Job failed:" in submitted  # this client names no data: the script finds none
    jobs = cli("jobs", "list", "--all")
    assert jobs.count("failed") == 2
    assert "Showing 2 of 2 jobs" in jobs
    short = re.findall(r"│ ([0-9a-f]{8}) ", jobs)[0]
    assert "exit code" in cli("jobs", "status", short)
    assert "digits.csv" in cli("jobs", "logs", short, "-n", "20")
    assert "Job failed." in cli("jobs", "logs", short, "-f")
    assert "h100" in cli("run", "train.py", "--gpu", "h100", ok=False)
    assert "Dry Run" in cli("run", "train.py", "--dry-run")
    cli("run", "train.py", "-e", "WAIT=1", "-t", "72", ok=False)  # 720 credits are not there
    assert "499" in cli("credits")
    listed = sender.cli("jobs", "list", env={"MIDDLEMAN_API_KEY": tenant.key})
    assert short in listed  # a framework that the SDK cannot read does not break its list
    assert "No jobs found" in cli("jobs", "list", "-s", "running")
    assert "logged out" in cli("logout")


def test_all_clients_at_once_see_only_their_own(
    house: Server, tmp_path: Path, digits: Path
) -> None:
    tenants = [Tenant(house, f"together-{n}", 2000) for n in range(4)]
    names = (SDKS[0], SDKS[1], OURS, SDKS[0])
    clients = [
        Client(name, tmp_path / tenant.name, tenant)
        for name, tenant in zip(names, tenants, strict=True)
    ]
    seen: dict[str, dict[str, Any]] = {}

    def drive(client: Client) -> None:
        seen[client.tenant.name] = life(client, digits)

    threads = [threading.Thread(target=drive, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    orchestrator_stays_local(house, tenants)
    for thread in threads:
        thread.join()
    assert sorted(seen) == [t.name for t in tenants]
    ids = [one for found in seen.values() for one in found["jobs"]]
    assert len(set(ids)) == len(ids) == 8
    for client in clients:
        check_life(seen[client.tenant.name], client.home, digits)
    assert doctor(house) == []


def orchestrator_stays_local(house: Server, tenants: list[Tenant]) -> None:
    """Without a key its door is the account local: it sees its own job, and nobody else does."""
    with httpx2.Client(base_url=house.url, timeout=30) as http:
        new = {
            "name": "beside", "image": IMAGE, "schedule": "0 2 1 1 *",
            "command": ["python", "-c", "print('beside the others')"],
        }  # fmt: skip
        made = http.post("/jobs", json=new)
        if made.status_code == 401:  # where a job's network cannot be its own, open mode must end
            assert "several people" in made.json()["detail"]
            return
        assert made.status_code == 201, made.text
        one = f"/jobs/{made.json()['job_id']}"
        assert http.post(f"{one}/run-now").status_code == 200
        eventually(lambda: http.get(one).json()["status"] == "completed", 90, "it runs beside them")
        assert http.get(f"{one}/logs").json()["logs"] == "beside the others\n"
        assert [job["name"] for job in http.get("/jobs").json()["jobs"]] == ["beside"]
        assert http.get("/stats").json()["total_jobs"] == 1
        for path in ("/v1/jobs", "/api/v1/jobs", "/middleman/api/v1/jobs", "/v1/credits"):
            assert http.get(path).status_code in (401, 404)
        run = http.get(f"{one}/attempts").json()["attempts"][0]["run_id"]
        for tenant in tenants:
            key = {"Authorization": f"Bearer {tenant.key}"}
            assert http.get("/jobs", headers=key).json()["total"] == 0
            for method, path in (("GET", one), ("DELETE", one), ("POST", f"{one}/run-now")):
                sent = {"json": {}} if method == "POST" else {}
                assert http.request(method, path, headers=key, **sent).status_code == 404
            assert http.get(f"/v1/jobs/{run}", headers=key).status_code == 404
            plain = run.removeprefix("job_")
            assert http.get(f"/api/v1/jobs/{plain}", headers=key).status_code == 404
