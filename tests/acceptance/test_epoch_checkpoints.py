"""Checkpoints by epochs as a user sees them: states, checkpoints, progress."""

from __future__ import annotations

from tests.support.server import Api, eventually

#: Large enough that hashing and sending it can be seen from outside.
TRAIN = """
import os, time
folder = os.environ["CHECKPOINT_DIR"]
for epoch in (1, 2, 3):
    with open(folder + "/.tmp-w", "wb") as file:
        file.truncate(256 * 1024**2)
        file.write(b"epoch %d" % epoch)
    os.rename(folder + "/.tmp-w", folder + f"/epoch-{epoch}")
    if epoch > 1: os.unlink(folder + f"/epoch-{epoch - 1}")
    print(f"Epoch {epoch}/3, Step {epoch * 10}/30, Loss: {1 / epoch:.2f}", flush=True)
    while epoch == 2 and not os.path.exists("go"): time.sleep(0.05)
"""


def test_a_checkpoint_each_second_epoch_and_the_state_while_it_is_taken(api: Api) -> None:
    job_id = api.python(TRAIN, checkpoint_every_epochs=2)
    seen: set[str] = set()

    def committed() -> bool:
        job = api.job(job_id)
        seen.add(f"{job['state']} {job['attempt']['state'] if job['attempt'] else None}")
        found = api.ok(api.http.get(f"/v1/jobs/{job_id}/checkpoints"))["items"]
        return bool(found)

    eventually(committed, 60)
    assert "RUNNING CHECKPOINTING" in seen
    running = api.wait(job_id, "RUNNING")
    eventually(lambda: api.job(job_id)["attempt"]["state"] == "RUNNING", 20)
    assert running["checkpoint_every_epochs"] == 2
    assert running["progress"] == {"epoch": 2.0, "epoch_total": 3.0, "step": 20, "loss": 0.5}
    kinds = [e["kind"] for e in api.ok(api.http.get(f"/v1/jobs/{job_id}/events"))["items"]]
    assert kinds.index("attempt.checkpointing") < kinds.index("attempt.checkpoint")
    files = api.ok(api.http.get(f"/v1/jobs/{job_id}/checkpoints"))["items"][0]
    assert [f["path"] for f in files["files"]] == ["epoch-2"]
    assert files["step"] == 2
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    assert api.wait(job_id)["state"] == "CANCELLED"


def test_the_figure_is_checked(api: Api) -> None:
    for wrong in (0, -1, 1.5, "2", 10**9):
        body = {"command": ["true"], "checkpoint_every_epochs": wrong}
        assert api.http.post("/v1/jobs", json=body).status_code == 400
