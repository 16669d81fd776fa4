"""No framework error body leaks: all that goes wrong is a problem (SECURITY 24, 28, 43)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import NO_LIMITS, World, serving, world

from trainshed.domain import errors as domain_errors
from trainshed.http import errors
from trainshed.http.hall import HttpSettings


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"https://trainshed.dev/errors/{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", body["request_id"])
    assert not re.search(r"/(work|src|site-packages|home)/|Traceback|sqlite|pydantic", answer.text)
    return body


def test_every_error_of_the_tree_has_a_status() -> None:
    def tree(cls: type[domain_errors.TrainshedError]) -> set[str]:
        return {cls.code}.union(*(tree(c) for c in cls.__subclasses__()))

    assert tree(domain_errors.TrainshedError) - {"error"} <= set(errors.TABLE)


def test_404_and_405(w: World) -> None:
    problem(w.client.get("/nowhere"), 404, "not_found")
    problem(w.client.get("/v1/"), 404, "not_found")
    body = problem(w.client.patch("/v1/jobs"), 405, "method_not_allowed")
    assert body["allow"] == ["GET", "POST"]
    answer = w.client.request("TRACE", "/v1/jobs")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    problem(w.client.options("/v1/jobs"), 405, "method_not_allowed")
    problem(w.client.get("/docs"), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[1]", b'"text"', b"null", b"\xff\xfe", b'{"command": NaN}',
        b'{"command": ["true"], "priority": 1e400}',
        b'{"command": ["true"], "priority": 99999999999999999999999999}',
        b'{"command": ["true"], "params": {"x": 9223372036854775808}}',
        b'{"command": ["\\ud800"]}', b'{"command": ["a\\u0000b"]}',
        b'{"command": ["true"], "params": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"command": ["true"], "params": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"command": ["true"]} trailing', b"", b'{"command": []}', b'{"command": [1]}',
        b'{"command": "open \\" quote"}', b'{"command": ["true"], "priority": "5"}',
        b'{"command": ["true"], "priority": true}', b'{"command": ["true"], "name": ""}',
        b'{"command": ["true"], "resources": {"cpus": 0}}',
        b'{"command": ["true"], "inputs": [{"source": "x", "ref": "y", "path": "z"}]}',
        b'{"command": ["true"], "inputs": [{"source": "upload", "ref": "y", "path": "../z"}]}',
    ],
)  # fmt: skip
def test_malformed_bodies_are_400(w: World, body: bytes) -> None:
    headers = {**w.admin.headers, "Content-Type": "application/json"}
    answer = w.client.post("/v1/jobs", content=body, headers=headers)
    problem(answer, 400, "invalid_input")


def test_many_fields_are_bounded(w: World) -> None:
    for bad in (
        {"labels": {str(n): "" for n in range(65)}},
        {"env": {f"N{n}": "" for n in range(257)}},
        {"env": {"A": "x" * 40_000}},
        {"labels": {"k": "v" * 300}},
        {"max_runtime_s": 0},
        {"max_runtime_s": 2**62},
        {"workload": "nope"},
        {"resources": {"memory_bytes": 1}},
        {"resources": {"gpus": 1, "gpu_type": "none-such"}},
        {"env": {"TRAINSHED_TOKEN": "x"}},
        {"grace_s": -1},
    ):
        body = {"command": ["true"], **bad}
        answer = w.client.post("/v1/jobs", json=body, headers=w.admin.headers)
        assert answer.status_code == 400, (bad, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


def test_wrong_media_types_are_415(w: World) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {**w.admin.headers, "Content-Type": kind}
        answer = w.client.post("/v1/jobs", content=b'{"command": ["true"]}', headers=headers)
        problem(answer, 415, "unsupported_media_type")
    headers = {
        **w.admin.headers, "Content-Type": "application/json", "Content-Encoding": "gzip",
    }  # fmt: skip
    answer = w.client.post("/v1/jobs", content=b"{}", headers=headers)
    problem(answer, 415, "unsupported_media_type")


def test_large_bodies_are_413_before_they_are_read(w: World) -> None:
    large = json.dumps({"command": ["x" * 300_000]}).encode()
    headers = {**w.admin.headers, "Content-Type": "application/json"}
    body = problem(w.client.post("/v1/jobs", content=large, headers=headers), 413, "too_large")
    assert body["limit_bytes"] == 256 * 1024

    def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1024

    problem(w.client.post("/v1/jobs", content=endless(), headers=headers), 413, "too_large")
    announced = {**headers, "Content-Length": "99999999999999999999999"}
    answer = w.client.post("/v1/jobs", content=b"{}", headers=announced)
    problem(answer, 400, "invalid_input")


def test_bad_queries_are_400(w: World) -> None:
    for query in (
        "limit=0", "limit=201", "limit=x", "limit=9999999999999999999999", "state=NOPE",
        "cursor=forged", "cursor=e30.e30", "unknown=1", "name=%00", "label=nocolon",
        "created_after=yesterday", "created_after=2026-01-01T00:00:00",
    ):  # fmt: skip
        answer = w.client.get(f"/v1/jobs?{query}", headers=w.admin.headers)
        problem(answer, 400, "invalid_input")
    for path in ("/v1/jobs/%00", "/v1/jobs/job_x", "/v1/keys/job_" + "0" * 32 + "/rotate"):
        answer = w.client.get(path, headers=w.admin.headers)
        assert answer.status_code in (404, 405)


def test_a_cursor_is_good_for_its_own_list_and_account(w: World) -> None:
    other = w.person("other")
    for _ in range(3):
        w.submit(w.admin)
    page = w.client.get("/v1/jobs?limit=2", headers=w.admin.headers).json()
    assert len(page["items"]) == 2
    rest = w.client.get(f"/v1/jobs?limit=2&cursor={page['next']}", headers=w.admin.headers).json()
    assert len(rest["items"]) == 1
    assert rest["next"] is None
    seen = {j["id"] for j in page["items"] + rest["items"]}
    assert len(seen) == 3
    for path, headers in (("/v1/uploads", w.admin.headers), ("/v1/jobs", other.headers)):
        answer = w.client.get(f"{path}?cursor={page['next']}", headers=headers)
        problem(answer, 400, "invalid_input")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "127.0.0.1@evil.example", "",
     "localhost.evil.example:80", "[::2]", "127.0.0.1:99999999", "169.254.169.254"],
)  # fmt: skip
def test_unknown_hosts_are_refused(w: World, host: str) -> None:
    answer = w.client.get("/v1/health", headers={"Host": host})
    problem(answer, 400, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5001", "127.0.0.1:1", "[::1]:8000"])
def test_loopback_names_are_known(w: World, host: str) -> None:
    assert w.client.get("/v1/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_cross_site_writes_are_refused_whatever_the_method(w: World, method: str) -> None:
    for header in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:9999"},
    ):  # fmt: skip
        headers = {**w.admin.headers, **header}
        answer = w.client.request(method, "/v1/jobs", headers=headers)
        problem(answer, 403, "cross_site")
        assert "access-control-allow-origin" not in answer.headers
    own = {**w.admin.headers, "Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    made = w.client.post("/v1/jobs", json={"command": ["true"]}, headers=own)
    assert made.status_code == 201


def test_a_bug_is_a_500_that_says_nothing(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainshed.usecases import queries

    def broken(*_: Any) -> None:
        raise RuntimeError("secret /srv/path")

    monkeypatch.setattr(queries, "list_jobs", broken)
    answer = w.client.get("/v1/jobs", headers=w.admin.headers)
    problem(answer, 500, "internal_error")
    assert "secret" not in answer.text


def test_every_answer_has_the_security_headers(w: World) -> None:
    for path in ("/", "/v1/health", "/nope", "/v1/me"):
        headers = w.client.get(path, headers={"Accept": "text/html"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def test_rate_limit_is_told_and_kept(tmp_path: Path) -> None:
    settings = HttpSettings(rate_limits={"standard": 3, "address": 2})
    with world(tmp_path, settings=settings) as w:
        for left in ("2", "1", "0"):
            answer = w.client.get("/v1/credits", headers=w.admin.headers)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] == "3"
            assert answer.headers["x-ratelimit-remaining"] == left
        answer = w.client.get("/v1/credits", headers=w.admin.headers)
        problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) in range(1, 21)
        w.clock.advance(20)
        assert w.client.get("/v1/credits", headers=w.admin.headers).status_code == 200
        assert w.client.get("/v1/me").status_code == 401
        assert w.client.get("/v1/me").status_code == 401
        assert w.client.get("/v1/me").status_code == 429


def test_forwarded_headers_count_from_trusted_proxies_only(tmp_path: Path) -> None:
    forged = {
        "X-Forwarded-Host": "shed.example", "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
    }  # fmt: skip
    body = {"path": "a", "size_bytes": 1}
    with world(tmp_path / "a") as w:
        made = w.client.post("/v1/uploads", json=body, headers={**w.admin.headers, **forged})
        assert made.json()["url"].startswith("http://127.0.0.1:8000/v1/signed/")
    settings = HttpSettings(
        allowed_hosts=["shed.example"], trusted_proxies=["127.0.0.0/8"], rate_limits=NO_LIMITS
    )
    import httpx2

    with world(tmp_path / "b", settings=settings) as w, serving(w.app) as url:
        headers = {**w.admin.headers, **forged}
        answer = httpx2.post(f"{url}/v1/uploads", json=body, headers=headers)
        assert answer.json()["url"].startswith("https://shed.example/v1/signed/")
        assert "strict-transport-security" in answer.headers


def test_no_websocket_is_open(w: World) -> None:
    from starlette.websockets import WebSocketDisconnect

    for path in ("/", "/v1/jobs", "/ws"):
        with pytest.raises(WebSocketDisconnect), w.client.websocket_connect(path):
            pass
