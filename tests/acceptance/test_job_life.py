"""One real job from submit to receipt, over HTTP, with every surface looked at."""

from __future__ import annotations

import json

from tests.support.server import Api

TRAIN = """
import json, os, time
from pathlib import Path
import trainshed_job as job
out = Path(os.environ["TRAINSHED_OUTPUT_DIR"])
loss = 1.0
for step in range(1, 6):
    loss *= 0.5
    print(f"Epoch {step}/5, Loss: {loss}")
    job.log(step=step, accuracy=1 - loss)
print("METRIC:" + json.dumps({"step": 5, "final": loss}))
(out / "sub").mkdir()
(out / "model.txt").write_text("weights")
(out / "sub" / "notes.txt").write_text("notes")
(Path(os.environ["TRAINSHED_CHECKPOINT_DIR"]) / "state.bin").write_bytes(b"x" * 1000)
"""


def test_life_of_a_job(api: Api) -> None:
    before = api.ok(api.http.get("/v1/credits"))["balances"][0]
    job_id = api.python(TRAIN, env={"SECRET": "canary-4711"}, labels={"team": "vision"})
    job = api.wait(job_id)
    assert (job["state"], job["reason"]) == ("SUCCEEDED", "completed"), job
    assert job["env"] == {"SECRET": "***"}
    assert job["attempt"]["exit_code"] == 0
    assert job["progress"]["epoch"] == 5
    log = api.logs(job_id).decode()
    assert [line for line in log.splitlines() if line.startswith("Epoch")][-1].startswith(
        "Epoch 5/5"
    )
    keys = {i["key"]: i for i in api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics"))["items"]}
    assert keys["accuracy"]["n"] == 5
    assert keys["final"]["latest"]["value"] == 0.5**5
    series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params={"key": "loss"}))
    assert [p[2] for p in series["points"]] == [0.5**n for n in range(1, 6)]
    found = api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"]
    paths = {f["path"] for a in found if a["kind"] == "artifact" for f in a["files"]}
    assert paths == {"model.txt", "sub/notes.txt"}
    kinds = [e["kind"] for e in api.ok(api.http.get(f"/v1/jobs/{job_id}/events"))["items"]]
    order = ["job.queued", "job.starting", "job.running", "job.succeeded"]
    assert [k for k in kinds if k in order] == order
    receipt = api.ok(api.http.get(f"/v1/jobs/{job_id}/receipt"))
    assert receipt["captured_ucredits"] > 0
    assert receipt["held_ucredits"] == receipt["captured_ucredits"] + receipt["released_ucredits"]
    after = api.ok(api.http.get("/v1/credits"))["balances"][0]
    spent = before["balance_ucredits"] - after["balance_ucredits"]
    assert spent == receipt["captured_ucredits"]


def test_download_is_what_the_job_wrote(api: Api) -> None:
    job_id = api.python(TRAIN)
    api.wait(job_id)
    for path in ("model.txt", "outputs/model.txt", "/model.txt"):
        made = api.ok(api.http.post("/v1/downloads", json={"job_id": job_id, "path": path}))
        got = api.http.get(made["url"])
        assert got.content == b"weights"
        assert got.headers["content-disposition"].startswith("attachment")
    missing = api.http.post("/v1/downloads", json={"job_id": job_id, "path": "nope"})
    assert missing.status_code == 404
    assert "model.txt" in missing.text


def test_plan_makes_nothing_and_agrees_with_submit(api: Api) -> None:
    body = {"name": "p", "command": ["true"], "resources": {"cpus": 0.5}, "max_runtime_s": 3600}
    plan = api.ok(api.http.post("/v1/jobs/plan", json=body))
    assert plan["hold_ucredits"] == 500_000
    assert plan["starts"]["code"] in ("ready", "no_capacity", "behind_others")
    job = api.ok(api.http.post("/v1/jobs", json=body))
    assert job["held_ucredits"] == plan["hold_ucredits"]
    api.wait(job["id"])


def test_follow_gives_every_byte_once(api: Api) -> None:
    code = "import time\nfor i in range(200):\n    print(i)\n    if i % 50 == 0: time.sleep(0.2)\n"
    job_id = api.python(code)
    text, ended, last_id = "", False, None
    with api.http.stream("GET", f"/v1/jobs/{job_id}/logs/follow", timeout=60) as stream:
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.split(":", 1)[1].strip()
            elif line.startswith("id:"):
                last_id = line.split(":", 1)[1].strip()
            elif line.startswith("data:"):
                data = json.loads(line.split(":", 1)[1])
                if kind == "log" and data["stream"] == "stdout":
                    text += data["text"]
                ended = ended or kind == "end"
    assert ended
    assert last_id
    assert text == "".join(f"{i}\n" for i in range(200))


def test_gpu_job_falls_back_to_cpus_and_says_so(api: Api) -> None:
    body = {
        "name": "gpu", "command": ["python", "-c", "print('hello')"],
        "resources": {"gpus": 1, "gpu_type": "a100"}, "max_runtime_s": 3600,
    }  # fmt: skip
    plan = api.ok(api.http.post("/v1/jobs/plan", json=body))
    if not plan["fallback"]:
        job = api.ok(api.http.post("/v1/jobs", json=body))
        assert job["pool"] == "a100"
        return
    job = api.ok(api.http.post("/v1/jobs", json=body))
    assert job["held_ucredits"] == 50_000_000
    done = api.wait(job["id"])
    assert done["attempt"]["fallback"] is True
    assert b"charged at the local-cpu price" in api.logs(job["id"], "system")
    receipt = api.ok(api.http.get(f"/v1/jobs/{job['id']}/receipt"))
    assert receipt["pool"] == "a100"
    assert receipt["pool_used"] == "local-cpu"
    assert receipt["captured_ucredits"] == 1_000_000  # a GPU pool's least charge, of 50 held
