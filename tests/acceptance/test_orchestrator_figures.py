"""The Orchestrator's figures over a real run, as Prometheus would scrape them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from tests.support.server import eventually, running

IMAGE = "example/trainer:1"


def test_a_real_run_moves_the_figures(tmp_path: Path) -> None:
    env = {"TRAINSHED_IMAGES": f'{{"{IMAGE}": "{sys.executable}"}}',
           "TRAINSHED_ORCHESTRATOR_BACKOFF_S": "0.1"}  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="trainshed-") as folder,
        running(Path(folder) / "data", **env) as server,
    ):
        boss, anyone = server.client(), httpx2.Client(base_url=server.url, timeout=30)

        def figures() -> dict[tuple[str, str], float]:
            text = boss.get("/metrics").text
            return {
                (s.name, s.labels.get("job_name") or s.labels.get("job_id", "")): s.value
                for f in text_string_to_metric_families(text)
                for s in f.samples
                if not s.name.endswith("_bucket")
            }

        assert anyone.get("/metrics").status_code == 401
        figures()
        code = (
            "import os; open(os.environ['CHECKPOINT_DIR'] + '/x', 'w').close(); raise SystemExit(3)"
        )
        body = {"name": "fails", "image": IMAGE, "command": ["python", "-c", code, "--"],
                "schedule": "0 2 1 1 *", "max_retries": 1}  # fmt: skip
        job = anyone.post("/jobs", json=body).json()["job_id"]
        assert figures()["training_jobs_pending", ""] == 1
        anyone.post(f"/jobs/{job}/run-now")
        eventually(lambda: anyone.get(f"/jobs/{job}").json()["status"] == "failed", 60)
        found = figures()
        anyone.close()
    assert found["training_jobs_total", "fails"] == 1
    assert found["training_jobs_failed", "fails"] == 1
    assert found["training_job_retry_count", "fails"] == 1
    assert found["training_job_started_timestamp", "fails"] > 1.6e9
    assert found["training_jobs_duration_seconds_count", "fails"] == 1
    assert found["checkpoint_save_total", job] == 2
    assert found["checkpoint_load_total", job] == 1
