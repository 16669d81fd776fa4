"""Messages recorded when protocol 1 was released are understood for good (G22).

``tests/data/wire_v1.json`` is never edited. A runner of that version meets today's server here, and
its server's words meet today's runner.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.support.engine import make_engine, principal_with_credits

from trainshed.bootstrap.apps import runners
from trainshed.domain.artifact import ArtifactKind
from trainshed.domain.job import JobSpec
from trainshed.usecases import dispatch
from trainshed.usecases.submit import SubmitJob, submit
from trainshed.wire import v1

GOLDEN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "wire_v1.json").read_text()
)
MESSAGES = [name for name in GOLDEN if name[0].isupper()]
HELLO = b"hello world!"


@pytest.mark.parametrize("name", MESSAGES)
def test_todays_side_reads_recorded_messages(name: str) -> None:
    """Nothing recorded is lost or changed, and a newer side's further words are ignored."""
    kind: type[v1.Message] = getattr(v1, name)
    message = kind.from_json(GOLDEN[name])
    assert GOLDEN[name].items() <= message.to_json().items()
    assert kind.from_json({**GOLDEN[name], "said_in_version_9": {"x": 1}}) == message


def test_protocol_and_paths_stay() -> None:
    assert (v1.PROTOCOL, v1.PREFIX) == (1, "/runner/v1/attempts")


def shape(recorded: Any, found: Any, at: str = "") -> None:
    """Fail unless ``found`` has all that was recorded, each of the same JSON type."""
    if recorded is None or found is None:
        return
    number = isinstance(recorded, int | float) and not isinstance(recorded, bool)
    kinds = (int, float) if number else type(recorded)
    assert isinstance(found, kinds), (at, recorded, found)
    if isinstance(recorded, dict) and at != ".env":
        for key, value in recorded.items():
            assert key in found, f"{at}.{key} is no longer sent"
            shape(value, found[key], f"{at}.{key}")
    if isinstance(recorded, list) and recorded and found:
        shape(recorded[0], found[0], f"{at}[0]")


def test_a_recorded_runner_gets_its_job_done(tmp_path: Path) -> None:
    engine, _, executor = make_engine(tmp_path)
    deps = engine.deps
    who = principal_with_credits(engine, 10**9)
    job = submit(deps, SubmitJob(who, "job", JobSpec(command=("true",)), {"A": "b"})).job
    (attempt,) = dispatch.lease(engine)
    dispatch.launch(engine, attempt)
    headers = {"Authorization": f"Bearer {executor.running[attempt.id].runner_token}"}
    base = f"/runner/v1/attempts/{attempt.id}"
    with TestClient(runners(engine), headers=headers) as http:

        def say(method: str, path: str, expect: int = 200, **body: Any) -> dict[str, Any]:
            answer = http.request(method, f"{base}/{path}", **body)
            assert answer.status_code == expect, (path, answer.text)
            found: dict[str, Any] = answer.json()
            return found

        hello = {"protocol": 1, "boot_id": "b", "pid": 4711}
        shape(GOLDEN["Assignment"], say("POST", "assignment", json=hello))
        shape(GOLDEN["Reply"], say("POST", "started", json=GOLDEN["Started"]))
        assert say("POST", "heartbeat", json=GOLDEN["Heartbeat"]) == {"order": None}
        assert say("GET", "orders?wait_s=0") == {"order": None}
        assert say("POST", "streams/stdout?offset=0", content=b"one\n") == {"next": 4}
        assert say("POST", "streams/stdout?offset=9", 409, content=b"gap")["next"] == 4
        assert say("POST", "metrics?offset=0", json=GOLDEN["metrics"]) == {"next": 3}
        file = GOLDEN["Collected"]["files"][0]
        assert len(HELLO) == file["size_bytes"]
        sums = f"md5={file['md5']}&sha256={file['sha256']}&size={file['size_bytes']}"
        say("PUT", f"blobs?{sums}", 201, content=HELLO)
        assert say("POST", "artifacts", 201, json=GOLDEN["Collected"])["id"]
        assert say("POST", "finished", json=GOLDEN["Finished"]) == {}
        assert say("POST", "finished", json=GOLDEN["Finished"]) == {}
    done = deps.store.read(lambda tx: tx.jobs.get(job.id))
    assert str(done.state) == "SUCCEEDED"
    made = deps.store.read(lambda tx: tx.files.artifacts(job.id, ArtifactKind.CHECKPOINT))
    assert [(a.step, a.files[0].path) for a in made] == [(40, "model.pt")]
    assert deps.store.verify() == []
    deps.store.close()


def test_a_short_lived_process_tells_of_its_start_with_its_end(tmp_path: Path) -> None:
    engine, _, executor = make_engine(tmp_path)
    deps = engine.deps
    who = principal_with_credits(engine, 10**9)
    job = submit(deps, SubmitJob(who, "job", JobSpec(command=("true",)), {})).job
    (attempt,) = dispatch.lease(engine)
    dispatch.launch(engine, attempt)
    headers = {"Authorization": f"Bearer {executor.running[attempt.id].runner_token}"}
    base = f"/runner/v1/attempts/{attempt.id}"
    start = {**GOLDEN["Started"], "age_ms": 40}
    with TestClient(runners(engine), headers=headers) as http:
        hello = {"protocol": 1, "boot_id": "b", "pid": 4711}
        assert http.post(f"{base}/assignment", json=hello).status_code == 200
        bad = {**GOLDEN["Finished"], "started": {**start, "isolation": "perfect"}}
        assert http.post(f"{base}/finished", json=bad).status_code == 400
        end = {**GOLDEN["Finished"], "started": start, "runtime_ms": 40}
        for _ in range(2):
            assert http.post(f"{base}/finished", json=end).json() == {}
        assert http.post(f"{base}/started", json=start).status_code == 409
    done = deps.store.read(lambda tx: tx.jobs.get(job.id))
    last = deps.store.read(lambda tx: tx.attempts.get(attempt.id))
    assert str(done.state) == "SUCCEEDED"
    assert done.started_at is not None
    assert (last.isolation, last.started_at) == (start["isolation"], done.started_at)
    kinds = [e.kind for e in deps.store.read(lambda tx: tx.events.page(0, 100, job_id=job.id))]
    assert kinds.count("job.running") == 1
    assert kinds.index("job.running") < kinds.index("job.succeeded")
    assert deps.store.verify() == []
    deps.store.close()
