"""The Middleman door over HTTP: shapes, limits, errors, paths, money; no runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.deps import Person, World, world

from trainshed.dialects import middleman, native
from trainshed.domain.job import derived
from trainshed.domain.pricing import Package
from trainshed.domain.states import AttemptState
from trainshed.http.hall import ADDRESS, STANDARD, HttpSettings
from trainshed.ports.deps import Policy

DOORS = [native.door(), middleman.door()]
ROOT = "/middleman/api/v1"
POLICY = Policy(
    min_free_bytes=0, cpu_fallback=True, low_ucredits=100_000_000,
    packages=(Package("one", "One", 100, 95),),
)  # fmt: skip


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, POLICY, doors=DOORS) as one:
        one.upload(one.admin, "train.py", b"print(1)")
        yield one


class Api:
    """One caller at one of the door's addresses."""

    def __init__(self, w: World, person: Person, root: str = ROOT) -> None:
        self.w, self.root = w, root
        self.headers = {"X-API-Key": person.key}

    def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.w.client.request(method, self.root + path, headers=self.headers, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def job(self, status: int = 201, **body: Any) -> Any:
        return self(
            "POST", "/jobs", status, json={"script_path": "train.py", "gpu_type": "a100", **body}
        )

    def refused(self, answer: Any) -> str:
        assert set(answer) == {"error", "detail"}
        assert set(answer["error"]) == {"code", "message", "details"}
        assert answer["detail"] == answer["error"]["message"]
        return str(answer["error"]["code"])


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


def test_credits(w: World) -> None:
    poor = w.person("poor")
    api = Api(w, poor)
    assert api("GET", "/billing/balance") == {
        "balance": 0, "reserved": 0, "available": 0, "expires_at": None
    }  # fmt: skip
    w.upload(poor, "train.py", b"")
    answer = api.job(402, max_runtime_hours=1)
    assert api.refused(answer) == "insufficient_credits"
    assert answer["error"]["details"]["needed_ucredits"] == 50_000_000
    w.credits(poor, 149_500_000)
    api.job(max_runtime_hours=1)
    assert api("GET", "/billing/balance") == {
        "balance": 149, "reserved": 50, "available": 99, "expires_at": None
    }  # fmt: skip
    found = api("GET", "/billing/transactions")
    assert found["total"] == 1
    assert found["data"][0]["amount"] == 149
    assert found["data"][0]["description"]
    assert api("GET", "/billing/packages") == {
        "packages": [{"id": "one", "name": "One", "credits": 100, "price_cents": 95}]
    }
    me = api("GET", "/users/me")
    assert (me["name"], me["email"], me["tier"]) == ("poor", "", "standard")


def test_low_and_depleted_are_told_once_a_crossing(w: World) -> None:
    person = w.person("spender")
    api = Api(w, person)
    w.upload(person, "train.py", b"")
    w.credits(person, 150_000_000)

    def told() -> list[str]:
        found = w.client.get("/v1/events", params={"limit": 200}, headers=person.headers)
        kinds = [e["kind"] for e in found.json()["items"]]
        return [k for k in kinds if k in ("credits.low", "credits.depleted")]

    api.job(max_runtime_hours=1)
    assert told() == []  # 100 are left: not fewer
    first = api.job(max_runtime_hours=1)["id"]
    assert told() == ["credits.low"]
    api.job(max_runtime_hours=1)
    assert told() == ["credits.low", "credits.depleted"]
    api.job(402, max_runtime_hours=1)
    assert len(told()) == 2
    api("POST", f"/jobs/{first}/cancel")
    api.job(max_runtime_hours=1)  # 50 were back: depleted again, low all the while
    assert told() == ["credits.low", "credits.depleted", "credits.depleted"]


def test_keys(w: World, api: Api) -> None:
    made = api(
        "POST", "/api-keys", 201, json={"name": "ci", "scopes": ["read"], "expires_in_days": None}
    )
    assert made["key"].startswith(made["key_prefix"] + "_")
    assert made["key"].startswith("mdlm_")
    listed = api("GET", "/api-keys")
    assert isinstance(listed, list)
    assert [k["id"] for k in listed] == [made["id"]]  # only this door's
    assert "key" not in listed[0]
    reader = Api(w, Person(w.admin.principal, made["key"]))
    assert reader.refused(reader.job(403)) == "forbidden"
    assert reader("GET", "/jobs")["total"] == 0
    assert api("DELETE", f"/api-keys/{made['key_prefix']}...") == {"revoked": True}
    assert reader.refused(w.client.get(ROOT + "/jobs", headers={"X-API-Key": "x"}).json())
    w.clock.advance(1)
    reader("GET", "/jobs", 401)
    for name in ("mdlm_", "0" * 8, "mdlm_00000000", made["id"], "......."):
        api.refused(api("DELETE", f"/api-keys/{name}", 404))
    for name in (made["id"], made["id"][:8]):
        other = api("POST", "/api-keys", 201, json={"name": "x", "scopes": ["read", "write"]})
        name = other["id"][: len(name)]
        assert api("DELETE", f"/api-keys/{name}") == {"revoked": True}
    for wrong in ({"scopes": ["root"]}, {"expires_in_days": 0}, {"name": ""}, {"key": "mine"}):
        api("POST", "/api-keys", 400, json={"name": "x", **wrong})


def test_upload_urls_carry_the_grant(w: World, api: Api) -> None:
    body = {"filename": "data.csv", "content_type": "text/csv", "size_bytes": 3}
    made = api("POST", "/data/upload-url", 201, json=body)
    assert made["blob_path"] == "data.csv"
    assert made["upload_url"].startswith("http://127.0.0.1:8000/")
    put = w.client.put(made["upload_url"], content=b"a,b,c", headers={"content-type": "text/csv"})
    assert put.status_code == 413
    put = w.client.put(made["upload_url"], content=b"a,b", headers={"content-type": "text/csv"})
    assert put.status_code == 201
    assert w.client.put(made["upload_url"], content=b"a,b").status_code == 409
    assert w.client.put(made["upload_url"] + "x", content=b"a,b").status_code == 403
    job_id = api.job(input_data_path="data.csv")["id"]
    mine = api("POST", "/data/upload-url", 201, json=body, params={"job_id": job_id[:8]})
    assert mine["blob_path"] == f"jobs/{job_id}/data.csv"
    other = {"Host": "localhost:8000", **api.headers}
    made = w.client.post(f"{ROOT}/data/upload-url", json=body, headers=other).json()
    assert made["upload_url"].startswith("http://localhost:8000/")
    for wrong in ({"filename": "../x"}, {"size_bytes": -1}, {"size_bytes": 2**62}):
        status = 413 if wrong.get("size_bytes") == 2**62 else 400
        api.refused(api("POST", "/data/upload-url", status, json={**body, **wrong}))


def test_download_urls(w: World, api: Api) -> None:
    job_id = api.job()["id"]
    native_id = "job_" + job_id.replace("-", "")
    attempt = w.lease(w.admin, native_id)
    w.artifact(w.admin, native_id, attempt.id, {"model.pt": b"weights", "plots/a.png": b"png"})

    def link(path: str | None, status: int = 201) -> Any:
        body = {"job_id": job_id, "path": path}
        return api("POST", "/data/download-url", status, json=body)

    for path in ("model.pt", "outputs/model.pt", "/model.pt"):
        found = link(path)
        assert found["size_bytes"] == 7
        assert w.client.get(found["download_url"]).content == b"weights"
    for path in (None, "outputs", "plots"):
        found = link(path)
        assert found["size_bytes"] is None
        assert w.client.get(found["download_url"]).content[:2] == b"PK"
    missing = link("nope", 404)
    assert "model.pt" in missing["detail"]
    assert missing["error"]["details"]["available"] == ["model.pt", "plots/a.png"]
    for path in ("../x", "/etc/passwd", "%2e%2e/x"):
        assert link(path, 404 if path == "/etc/passwd" else 400)


def test_logs_in_both_shapes(w: World, api: Api) -> None:
    job_id = api.job()["id"]
    assert api("GET", f"/jobs/{job_id}/logs") == []
    assert api("GET", f"/jobs/{job_id}/logs", params={"tail": 100}) == {"logs": []}
    attempt = w.lease(w.admin, "job_" + job_id.replace("-", ""))

    def write(stream: str, offset: int, text: bytes) -> None:
        now = w.clock.utc_now()
        append = lambda tx: tx.streams.append_log(attempt.id, stream, offset, text, now)  # noqa: E731
        w.deps.store.write(append)
        w.clock.advance(1)

    write("stdout", 0, b"one\ntwo [/INST]\n")
    write("stderr", 0, b"\x1b[31mERROR bad\x1b[0m\n")
    write("stdout", 16, b"three\nunfinished")
    found = api("GET", f"/jobs/{job_id}/logs")
    assert [e["message"] for e in found] == ["one", "two [/INST]", "ERROR bad", "three"]
    assert [e["level"] for e in found] == ["INFO", "INFO", "ERROR", "INFO"]
    assert len({e["id"] for e in found}) == len({e["timestamp"] for e in found}) == 4
    for index, entry in enumerate(found):
        for stamp in (entry["timestamp"], entry["timestamp"].replace("+00:00", "")):
            rest = api("GET", f"/jobs/{job_id}/logs", params={"since": stamp})
            assert rest == found[index + 1 :]
    for tail in (0, 1, 3, 4, 5, 7, 8, 100):
        some = api("GET", f"/jobs/{job_id}/logs", params={"tail": tail})["logs"]
        assert some == (found[-tail:] if tail else [])
    write("stdout", 32, b" now\n")
    assert api("GET", f"/jobs/{job_id}/logs")[-1]["message"] == "unfinished now"
    for params in ({"tail": -1}, {"tail": "x"}, {"since": "yesterday"}):
        api.refused(api("GET", f"/jobs/{job_id}/logs", 400, params=params))


def test_the_openapi_document_is_its_own(w: World) -> None:
    found = w.client.get(f"{ROOT}/openapi.json").json()
    assert found["info"]["title"] == "Middleman"
    assert all(path.startswith(ROOT) for path in found["paths"])
    one = found["paths"][f"{ROOT}/jobs/{{job_id}}"]["get"]["responses"]["default"]
    assert "error" in one["content"]["application/json"]["schema"]["properties"]


def test_a_request_sent_twice_makes_one_job(w: World, api: Api) -> None:
    api.headers["Idempotency-Key"] = "k1"
    first = api.job()["id"]
    assert api.job()["id"] == first
    literal = Api(w, w.admin, "/api/v1")
    literal.headers = api.headers
    assert literal.job()["id"] == first
    del api.headers["Idempotency-Key"]
    assert api("GET", "/jobs")["total"] == 1
