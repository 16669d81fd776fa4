"""Documents equal routes; secrets and other tenants' words are in no answer (SECURITY 6, 7, 40)."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from typing import Any

import pytest
from tests.support.deps import PASSWORD, World

from trainshed.dialects.native import door
from trainshed.http.guards import Kind


def test_openapi_equals_the_real_routes(w: World) -> None:
    document = w.client.get("/v1/openapi.json").json()
    described = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    real = {(r.method, "/v1" + r.path): r for r in door().routes}
    assert set(described) == set(real)
    names = [o["operationId"] for o in described.values()]
    assert len(set(names)) == len(names)
    for where, operation in described.items():
        guard = real[where].guard
        assert guard is not None
        assert bool(operation["security"]) == (guard.kind is not Kind.PUBLIC), where
        assert operation["x-guard"] == guard.kind.value
        assert "422" not in operation["responses"]
        assert "default" in operation["responses"]
        assert operation.get("summary"), where
    whole = w.client.get("/openapi.json").json()
    assert set(whole["paths"]) == set(document["paths"]) | {"/metrics"}
    assert w.client.get("/v1/openapi.json").headers["content-type"] == "application/json"


def test_answers_hold_what_the_document_says(w: World) -> None:
    document = w.client.get("/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    job = w.client.get(f"/v1/jobs/{w.submit(w.admin)}", headers=w.admin.headers).json()
    assert set(job) == set(schemas["Job"]["properties"])
    assert "password" not in str(schemas["User"])
    assert "secret_hash" not in str(schemas["Key"])


def test_the_front_page_speaks_both_languages(w: World) -> None:
    as_json = w.client.get("/").json()
    assert as_json["doors"][0]["prefix"] == "/v1"
    page = w.client.get("/", headers={"Accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "/v1/openapi.json" in page.text
    style = re.findall("<style>(.*?)</style>", page.text)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    for path in re.findall('href="(/[^"]*)"', page.text):
        assert w.client.get(path).status_code == 200, path


def crawl(w: World, headers: dict[str, str], ids: dict[str, str]) -> str:
    """Everything that GET routes say to one caller."""
    said = []
    for route in door().routes:
        if route.method != "GET" or route.path.endswith("/follow"):
            continue
        path = "/v1" + route.path
        for key, value in ids.items():
            path = path.replace("{" + key + "}", value)
        answer = w.client.get(path, headers=headers)
        said.append(answer.text)
        said.append(str(dict(answer.headers)))
    return "\n".join(said)


def test_canaries_are_in_no_answer_and_no_log(w: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    one, two = w.person("tenant-one"), w.person("tenant-two")
    w.credits(one)
    secret = "canary-env-4711"
    job_id = w.submit(one, env={"API_TOKEN": secret}, name="canary-name-one")
    attempt = w.lease(one, job_id)
    made = w.artifact(one, job_id, attempt.id, {"canary-file-one.txt": b"x"})
    ids = {
        "job_id": job_id, "artifact_id": made.id, "user_id": one.principal.user_id or "",
        "account_id": one.principal.account_id,
        "upload_id": w.upload(one, "canary-upload-one.txt", b"y"),
        "key_id": w.key(one.principal).key.id, "token": "none",
    }  # fmt: skip
    own = crawl(w, one.headers, ids)
    assert "canary-name-one" in own
    assert '"API_TOKEN":"***"' in own
    secrets = [secret, one.key, one.key[-43:], attempt.message, PASSWORD, "argon2"]
    for word in secrets:
        assert word not in own
    foreign = crawl(w, two.headers, ids)
    for word in ("canary-", job_id, one.principal.account_id, "tenant-one", *secrets):
        assert word not in foreign
    for bad in ({"env": {"A": secret * 4000}}, {"env": {"A": [secret]}}, {"env": secret}):
        body = {"command": ["true"], **bad}
        answer = w.client.post("/v1/jobs", json=body, headers=one.headers)
        assert answer.status_code == 400
        assert secret not in answer.text
    wrong = {"username": "tenant-one", "password": secret}
    assert secret not in w.client.post("/v1/login", json=wrong).text
    failed = {"username": "tenant-one", "password": [secret]}
    assert secret not in w.client.post("/v1/login", json=failed).text
    logged = caplog.text + " ".join(str(r.__dict__) for r in caplog.records)
    for word in (secret, one.key, w.admin.key):
        assert word not in logged


def test_job_fields_come_back_as_they_were_sent(w: World) -> None:
    sent: dict[str, Any] = {
        "name": "all fields", "workload": "command", "params": {},
        "command": "python train.py --name 'two words'", "env": {"A": "b"},
        "resources": {"cpus": 0.05, "memory_bytes": 2**30, "gpus": 0, "gpu_type": None},
        "max_runtime_s": 5, "priority": -3, "network": "none", "labels": {"team": "x"},
        "retry": {"max_retries": 2, "backoff_s": 1.5, "max_backoff_s": 9}, "grace_s": 2.5,
    }  # fmt: skip
    job = w.client.post("/v1/jobs", json=sent, headers=w.admin.headers).json()
    assert job["command"] == ["python", "train.py", "--name", "two words"]
    assert job["env"] == {"A": "***"}
    for field in set(sent) - {"command", "env"}:
        assert job[field] == sent[field], field
    found = w.client.get("/v1/jobs?label=team:x&state=QUEUED", headers=w.admin.headers).json()
    assert [j["id"] for j in found["items"]] == [job["id"]]
    none = w.client.get("/v1/jobs?label=team:y", headers=w.admin.headers).json()
    assert none == {"items": [], "next": None}
    unnamed = w.client.post(
        "/v1/jobs", json={"command": ["python", "src/fit.py"]}, headers=w.admin.headers
    )
    assert unnamed.json()["name"] == "fit"


def test_control_routes(w: World) -> None:
    job_id = w.submit(w.admin)
    path = f"/v1/jobs/{job_id}"

    def call(method: str, what: str, **kw: Any) -> Any:
        return w.client.request(method, path + what, headers=w.admin.headers, **kw)

    assert call("PATCH", "", json={"priority": 9}).json()["priority"] == 9
    assert call("POST", "/pause").json()["state"] == "PAUSED"
    assert call("POST", "/resume").json()["state"] == "QUEUED"
    assert call("POST", "/checkpoint").status_code == 409
    assert call("GET", "/receipt").status_code == 409
    assert call("DELETE", "").status_code == 409
    assert call("POST", "/cancel").json()["state"] == "CANCELLED"
    assert call("POST", "/cancel").json()["code"] == "illegal_transition"
    assert call("GET", "/receipt").json()["captured_ucredits"] == 0
    again = call("POST", "/retry")
    assert again.status_code == 201
    assert again.json()["retry_of"] == job_id
    assert call("GET", "/attempts").json() == {"items": []}
    kinds = [e["kind"] for e in call("GET", "/events").json()["items"]]
    assert kinds[:2] == ["credits.held", "job.queued"]
    assert call("DELETE", "").status_code == 204
    assert call("GET", "").status_code == 404
