"""The whole of the SDK against a server, from key to downloaded model, by any client that is
imported as ``middleman``. Gets JSON, prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

middleman: Any = importlib.import_module("middleman")
errors: Any = importlib.import_module("middleman.client")
given = json.load(sys.stdin)
seen: dict[str, Any] = {}


def until(client: Any, job_id: str, done: Any, seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = client.get_job(job_id)
        if done(job):
            return job
        assert not job.is_terminal, job
        time.sleep(0.1)
    raise AssertionError(f"not in time: {client.get_job(job_id)}")


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def refused(call: Any, *args: Any) -> tuple[int, str]:
    try:
        call(*args)
    except errors.ApiError as error:
        return error.status_code, error.detail
    raise AssertionError(f"{call} was not refused")


with middleman.MiddlemanClient(api_key=given["key"], base_url=given["url"]) as client:
    before = client.get_balance()
    assert before.available == before.balance - before.reserved
    seen["packages"] = [p.price_dollars for p in client.get_packages()]
    seen["blob"] = client.upload_file(given["script"])
    client.upload_file(Path(given["data"]))

    made = client.create_job(
        script_path="/scripts/train.py",
        input_data_path=f"/data/{Path(given['data']).name}",
        name="My Job",
        gpu_type="a100",
        gpu_count=2,
        framework="pytorch",
        checkpoint_frequency=2,
        max_runtime_hours=8,
        environment_variables={"PACE": "0.3", "WANDB_API_KEY": "canary-8812"},
    )
    seen["id"], seen["reserved"], seen["position"] = (
        made.id, made.reserved_credits, made.queue_position,
    )  # fmt: skip
    assert made.estimated_cost == made.reserved_credits
    held = client.get_balance()
    seen["held"] = held.reserved - before.reserved

    running = until(client, made.id, lambda j: j.current_epoch >= 2)
    assert running.total_epochs == 12
    assert running.current_loss
    assert running.environment_variables == {"PACE": "***", "WANDB_API_KEY": "***"}
    paused = client.pause_job(made.id)
    seen["paused"] = paused.status.value
    seen["paused_list"] = [j.id for j in client.list_jobs(status="paused")[0]]
    seen["resumed"] = client.resume_job(made.id).status.value
    statuses = [j.status.value for j in client.stream_job_status(made.id, poll_interval=0.1)]
    seen["statuses"] = sorted(set(statuses))
    final = client.wait_for_job(made.id[:8], poll_interval=0.1, timeout=60)
    seen["final"] = {
        "status": final.status.value, "epoch": final.current_epoch, "cost": final.actual_cost,
        "script": final.script_path, "data": final.input_data_path, "retries": final.retry_count,
    }  # fmt: skip
    logs = client.get_job_logs(made.id)
    seen["log"] = [entry["message"] for entry in logs]
    middle = logs[len(logs) // 2]
    rest = client.get_job_logs(made.id, since=middle["timestamp"])
    assert rest == logs[logs.index(middle) + 1 :], (middle, rest)

    got = client.get_download_url(made.id, path="outputs/model.npy")
    Path(given["home"], "model.npy").write_bytes(fetched(got.download_url))
    assert got.size_bytes == len(fetched(got.download_url))
    Path(given["home"], "all.zip").write_bytes(
        fetched(client.get_download_url(made.id).download_url)
    )

    second = client.create_job("train.py", Path(given["data"]).name, max_runtime_hours=1)
    gone = client.cancel_job(second.id)
    seen["refund"] = (second.reserved_credits, gone["refunded_credits"], gone["status"])
    seen["jobs"] = [j.id for j in client.list_jobs(limit=5)[0]]
    rows, total = client.get_transactions(limit=50)
    seen["transactions"] = [(r["type"], r["amount"], r["description"]) for r in rows]
    assert total == len(rows)
    after = client.get_balance()
    seen["spent"] = before.balance - after.balance
    assert after.balance == sum(r["amount"] for r in rows)
    assert after.reserved == before.reserved

    info, full = client.create_api_key(name="CI/CD", scopes=["read"], expires_in_days=90)
    assert full.startswith("mdlm_")
    assert full.startswith(info.key_prefix)
    with middleman.MiddlemanClient(api_key=full, base_url=given["url"]) as reader:
        assert reader.get_job(made.id).id == made.id
        writes = (reader.cancel_job, reader.pause_job)
        seen["forbidden"] = [refused(call, made.id) for call in writes]
    assert info.id in [k.id for k in client.list_api_keys()]
    seen["revoked"] = client.revoke_api_key(info.id)
    assert info.id not in [k.id for k in client.list_api_keys()]

    problems = {
        "status": lambda: client.get_job("0" * 8),
        "terminal": lambda: client.cancel_job(made.id),
        "path": lambda: client.get_download_url(made.id, path="nope.bin"),
        "script": lambda: client.create_job("/scripts/nope.py", "/data/x"),
        "money": lambda: client.create_job(
            "train.py", Path(given["data"]).name, gpu_type="a100", gpu_count=8, max_runtime_hours=72
        ),
    }
    seen["errors"] = {name: refused(call) for name, call in problems.items()}
try:
    middleman.MiddlemanClient(api_key="mdlm_wrong", base_url=given["url"]).get_balance()
except errors.AuthenticationError as error:
    seen["wrong_key"] = str(error)
print(json.dumps(seen))
