"""The Middleman door over HTTP: money, keys, files, logs; no runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import Person, World
from tests.support.middleman import ROOT, Api, middleman_world


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with middleman_world(tmp_path) as one:
        yield one


@pytest.fixture
def api(w: World) -> Api:
    return Api(w, w.admin)


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
