"""The Middleman door over HTTP: jobs, paths, limits, errors; no runner."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.deps import World, serving, world
from tests.support.middleman import DOORS, POLICY, ROOT, Api, middleman_world

from trainshed.blobs.roots import GrantedRoots
from trainshed.domain.job import derived
from trainshed.domain.states import AttemptState
from trainshed.http.hall import ADDRESS, STANDARD, HttpSettings


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with middleman_world(tmp_path) as one:
        yield one


@pytest.fixture
def api(w: World) -> Api:
    return Api(w, w.admin)


def test_a_job_is_shown_alike_everywhere(w: World, api: Api) -> None:
    made = api.job(gpu_count=2, max_runtime_hours=8, environment_variables={"KEY": "canary-1"})
    assert made["estimated_cost"] == made["reserved_credits"] == 800
    assert (made["status"], made["queue_position"], made["name"]) == ("queued", 1, "train")
    assert api.job()["queue_position"] == 2
    literal = Api(w, w.admin, "/api/v1")
    shown = literal("GET", f"/jobs/{made['id'][:8]}")
    for field in ("id", "name", "status", "gpu_type", "script_path", "reserved_credits"):
        assert shown[field] == made[field]
    assert shown["environment_variables"] == {"KEY": "***"}
    listed = api("GET", "/jobs")
    assert listed["total"] == 2
    assert listed["data"][1]["id"] == made["id"]
    every = w.client.get("/v1/jobs", headers=w.admin.headers)
    assert len(every.json()["items"]) == 2
    assert "canary-1" not in every.text + str(listed) + str(shown)
    w.submit(w.admin)
    assert api("GET", "/jobs")["total"] == 2  # what this door has no words for is not its own


def test_lists_by_number_and_status(w: World, api: Api) -> None:
    ids = [api.job()["id"] for _ in range(5)]
    gone = api("POST", f"/jobs/{ids[0]}/cancel")
    assert (gone["status"], gone["refunded_credits"]) == ("cancelled", 200)
    assert api("POST", f"/jobs/{ids[1]}/pause")["status"] == "paused"
    native_id = "job_" + ids[2].replace("-", "")
    w.lease(w.admin, native_id)

    def run(tx: Any) -> None:
        tx.jobs.save(derived(tx.jobs.get(native_id), AttemptState.RUNNING))

    w.deps.store.write(run)
    newest = list(reversed(ids))
    pages = [api("GET", "/jobs", params={"limit": 2, "offset": n}) for n in (0, 2, 4, 6)]
    assert [j["id"] for page in pages for j in page["data"]] == newest
    assert {page["total"] for page in pages} == {5}
    of = {s: [j["id"] for j in api("GET", "/jobs", params={"status": s})["data"]] for s in STATUSES}
    assert of["queued"] == [ids[4], ids[3]]
    assert (of["cancelled"], of["paused"], of["running"]) == ([ids[0]], [ids[1]], [ids[2]])
    assert not any(of[s] for s in set(STATUSES) - {"queued", "cancelled", "paused", "running"})
    for params in ({"limit": 0}, {"limit": 101}, {"offset": -1}, {"status": "RUNNING"}, {"x": 1}):
        assert api.refused(api("GET", "/jobs", 400, params=params)) == "invalid_request"


def test_who_waits_for_a_job_to_stop_keeps_nobody_from_working(tmp_path: Path) -> None:
    settings = HttpSettings(rate_limits={}, max_working=4, max_streams=3)
    with world(tmp_path, POLICY, settings, doors=DOORS) as w, serving(w.app) as url:
        w.credits(w.admin)
        w.upload(w.admin, "train.py", b"print(1)")
        job_id = Api(w, w.admin).job()["id"]
        w.lease(w.admin, "job_" + job_id.replace("-", ""))

        def cancel(_: int) -> httpx2.Response:
            while True:
                headers = {"X-API-Key": w.admin.key}
                done = httpx2.post(f"{url}{ROOT}/jobs/{job_id}/cancel", headers=headers, timeout=60)
                if done.status_code != 503:
                    return done

        with ThreadPoolExecutor(5) as pool:
            waiting = [pool.submit(cancel, n) for n in range(5)]
            # Beyond the caller's streams nobody is waited for; the rest hold no place for work.
            until = time.monotonic() + 30
            while sum(one.done() for one in waiting) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            found = [httpx2.get(f"{url}/v1/credits", headers=w.admin.headers) for _ in range(5)]
            still = [one for one in waiting if not one.done()]
            w.clock.advance(60)
            assert len(still) == 3
            assert [one.status_code for one in found] == [200] * 5
            assert {one.result().status_code for one in waiting} == {200}


STATUSES = (
    "queued", "provisioning", "running", "paused", "checkpointing",
    "evicted", "resuming", "completed", "cancelled", "failed",
)  # fmt: skip


def test_pause_and_resume_say_409_where_they_cannot(api: Api) -> None:
    job_id = api.job()["id"]
    assert api.refused(api("POST", f"/jobs/{job_id}/resume", 409)) == "invalid_state"
    api("POST", f"/jobs/{job_id}/pause")
    assert api("GET", "/billing/balance")["reserved"] == 0
    assert api.refused(api("POST", f"/jobs/{job_id}/pause", 409)) == "invalid_state"
    assert api("POST", f"/jobs/{job_id}/resume")["status"] == "queued"
    assert api("GET", "/billing/balance")["reserved"] == 200
    api("POST", f"/jobs/{job_id}/cancel")
    for verb in ("cancel", "pause", "resume"):
        assert api.refused(api("POST", f"/jobs/{job_id}/{verb}", 409)) == "invalid_state"


def test_beginnings_of_ids(w: World, api: Api) -> None:
    job_id = api.job()["id"]
    for text in (job_id, job_id.upper(), job_id[:8], job_id[:13], job_id.replace("-", "")):
        assert api("GET", f"/jobs/{text}")["id"] == job_id
    for text in (job_id[:7], job_id[:-1] + "zz", "nothing", "%2e%2e", "x" * 300):
        assert api.refused(api("GET", f"/jobs/{text}", 404)) == "not_found"
    stranger = Api(w, w.person("stranger"))
    assert api.refused(stranger("GET", f"/jobs/{job_id}", 404)) == "not_found"
    assert stranger("GET", "/jobs") == {"data": [], "total": 0}


def test_an_ambiguous_beginning_is_409(w: World, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter("abc")
    real = w.deps.ids.new

    def new(kind: str) -> str:
        return f"job_12345678{next(made) * 24}" if kind == "job" else real(kind)

    monkeypatch.setattr(w.deps.ids, "new", new)
    first, _ = api.job()["id"], api.job()["id"]
    assert api.refused(api("GET", "/jobs/12345678", 409)) == "conflict"
    assert api("GET", "/jobs/12345678-a")["id"] == first


def test_paths_are_keys_of_uploads(w: World, api: Api) -> None:
    w.upload(w.admin, "sets/digits/a.csv", b"1")
    w.upload(w.admin, "sets/digits/deep/b.csv", b"2")
    w.upload(w.admin, "more.tar.gz", b"3")
    stale = w.upload(w.admin, "one.csv", b"old")
    newest = w.upload(w.admin, "one.csv", b"new")

    def inputs(path: str) -> dict[str, Any]:
        job_id = api.job(input_data_path=path)["id"].replace("-", "")
        job = w.client.get(f"/v1/jobs/job_{job_id}", headers=w.admin.headers).json()
        return {i["path"]: i for i in job["inputs"]}

    for path in ("/sets/digits", "sets/digits/", "digits", "/data/digits"):
        assert set(inputs(path)) == {"train.py", "digits/a.csv", "digits/deep/b.csv"}
    assert inputs("/data/one.csv")["one.csv"]["ref"] == newest != stale
    assert inputs("more.tar.gz")["more"]["unpack"] is True
    w.upload(w.admin, "other/one.csv", b"x")
    assert inputs("one.csv")["one.csv"]["ref"] == newest
    assert api.refused(api.job(400, input_data_path="/far/one.csv")) == "invalid_request"
    w.upload(w.admin, "other/digits/c.csv", b"x")
    assert "Several" in api.job(400, input_data_path="/x/digits")["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "../train.py",
        "/etc/passwd",
        "a/../train.py",
        "%2e%2e/x",
        "C:\\x",
        "a\nb",
        "",
        "/",
        "~/.ssh/id",
    ],
)
def test_no_path_is_a_server_path(api: Api, path: str) -> None:
    answer = api.job(400, script_path=path)
    assert answer["error"]["details"]["field"] in ("script_path", "script")


def test_a_missing_script_of_the_cli_fails_the_job_and_says_how(api: Api) -> None:
    body = {"script": "nope.py", "name": "x", "gpu_type": "a100", "environment": {}}
    made = api("POST", "/jobs", 201, json=body)
    assert made["status"] == "failed"
    assert "middleman data upload nope.py" in made["error_message"]
    assert made["reserved_credits"] == made["actual_cost"] == 0
    assert api("GET", "/billing/balance")["reserved"] == 0
    assert api("GET", f"/jobs/{made['id']}")["status"] == "failed"
    again = api("POST", "/jobs", 400, json={**body, "input_data_path": "x", "script": "train.py"})
    assert "input_data_path" in again["error"]["details"]["field"]
    assert api.refused(api("POST", "/jobs", 400, json={"name": "x"})) == "invalid_request"


def test_requirements_go_to_the_environment(w: World, api: Api) -> None:
    w.upload(w.admin, "requirements.txt", b"numpy")
    for body in ({"requirements_file": "requirements.txt"}, {"requirements": "numpy\n"}):
        made = api.job(**body)
        assert made["requirements_file"] == "requirements.txt"
        job_id = made["id"].replace("-", "")
        job = w.client.get(f"/v1/jobs/job_{job_id}", headers=w.admin.headers).json()
        assert job["environment"]["kind"] == "requirements"
        assert job["environment"]["framework"] == "pytorch"
        assert job["checkpoint_every_epochs"] == 10
    bad = api.job(400, requirements="--index-url http://evil\n")
    assert bad["error"]["details"]["field"] == "requirements_file"
    assert api.job(requirements="  \n")["requirements_file"] is None
    assert "nope.txt" in api.job(400, requirements_file="nope.txt")["detail"]


def test_wrong_fields_are_400_with_their_names(api: Api) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"gpu_type": "h100"}, "gpu_type"),
        ({"gpu_type": "t4"}, "gpu_type"),  # no such pool here
        ({"gpu_count": 9}, "gpu_count"),
        ({"max_runtime_hours": 73}, "max_runtime_hours"),
        ({"checkpoint_frequency": 0}, "checkpoint_frequency"),
        ({"framework": "mxnet"}, "framework"),
        ({"environment_variables": {"a b": "c"}}, "environment_variables"),
        ({"environment_variables": {"LD_PRELOAD": "c"}}, "environment_variables"),
        ({"name": "a\nb"}, "name"),
        ({"account_id": "me"}, "account_id"),
    ]
    for body, field in wrong:
        answer = api.job(400, **body)
        assert api.refused(answer) == "invalid_request"
        assert answer["error"]["details"]["field"] == field, answer


def test_every_failure_has_the_one_body(w: World, api: Api) -> None:
    send = w.client.request
    cases: list[tuple[httpx2.Response, int]] = [
        (send("GET", f"{ROOT}/nothing", headers=api.headers), 404),
        (send("GET", "/api/v1/nothing/at/all", headers=api.headers), 404),
        (send("PUT", f"{ROOT}/jobs", headers=api.headers), 405),
        (send("POST", f"{ROOT}/jobs", headers=api.headers, content=b"{nope",), 415),
        (
            send(
                "POST", f"{ROOT}/jobs", content=b"{nope",
                headers={**api.headers, "content-type": "application/json"},
            ),
            400,
        ),
        (send("POST", f"{ROOT}/jobs", headers=api.headers, json={"name": "x" * 300_000}), 413),
        (send("POST", f"{ROOT}/jobs", headers=api.headers, json=[1]), 400),
        (send("GET", f"{ROOT}/jobs"), 401),
        (send("GET", f"{ROOT}/jobs", headers={"X-API-Key": "mdlm_no"}), 401),
        (send("GET", "/api/v1/jobs", headers={"Authorization": "Bearer mdlm_no"}), 401),
        (send("GET", "/api/v1/jobs", headers={**api.headers, "Host": "evil.example"}), 400),
        (send("DELETE", f"{ROOT}/api-keys/x", headers={**api.headers, "Origin": "http://e"}), 403),
    ]  # fmt: skip
    for answer, status in cases:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        api.refused(answer.json())
    other = send("GET", "/api/v1/jobs")
    assert other.status_code == 404
    assert ROOT in other.json()["detail"]


def test_too_many_requests_are_429(tmp_path: Path) -> None:
    settings = HttpSettings(rate_limits={STANDARD: 3, ADDRESS: 0})
    with world(tmp_path, POLICY, settings, doors=DOORS) as w:
        api = Api(w, w.admin, "/api/v1")
        for _ in range(3):
            api("GET", "/users/me")
        assert api.refused(api("GET", "/users/me", 429)) == "rate_limited"


def test_what_the_operator_granted_is_copied_anew_for_each_job(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    (shelf / "sets").mkdir(parents=True)
    (shelf / "sets" / "a.csv").write_text("1")
    (shelf / "granted.py").write_text("print(1)")
    roots = GrantedRoots({"admin": [shelf]})
    with world(tmp_path, POLICY, doors=DOORS, deps={"roots": roots}) as w:
        api = Api(w, w.admin)
        body = {"script_path": "/granted.py", "input_data_path": "sets"}

        def read() -> bytes:
            job_id = api.job(**body)["id"].replace("-", "")
            job = w.client.get(f"/v1/jobs/job_{job_id}", headers=w.admin.headers).json()
            assert [i["path"] for i in job["inputs"]] == ["granted.py", "sets/a.csv"]
            sent = w.client.get(f"/v1/uploads/{job['inputs'][1]['ref']}", headers=w.admin.headers)
            mine = w.admin.principal.account_id
            return w.deps.blobs.read(mine, sent.json()["md5"])

        assert read() == b"1"
        (shelf / "sets" / "a.csv").write_text("22")
        assert read() == b"22"
        w.upload(w.admin, "sets/a.csv", b"own")
        assert read() == b"own"  # an upload comes first
        stranger = Api(w, w.person("stranger"))
        assert "data upload" in stranger.job(400, **body)["detail"]
