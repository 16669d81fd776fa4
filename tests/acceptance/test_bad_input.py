"""What Middleman, the Orchestrator and webhooks refuse, on a real server: each with a clear error
in its door's own shape, and nothing of it is made.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.server import Api, Server, doctor, running

LONG = "x" * 100_000
JSON = {"Content-Type": "application/json"}
URLS = (
    "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/", "file:///etc/passwd", "http://127.0.0.1/",
    "http://localhost/", "http://0x7f000001/", "http://2130706433/", "http://127.1/", "http://0/",
    "http://[::1]/", "http://10.0.0.1/", "http://[fe80::1]/", "http://[64:ff9b::a9fe:a9fe]/",
    "gopher://example.com/", "javascript:alert(1)", "//example.com", "example.com", "", 7, None,
    "http://", "http://user:secret@example.com/", "http://example.com:99999/", "http://a b/",
    "http://example.com/\r\nHost: evil", "http://example.com/" + "x" * 5000, "http://metadata.\x00/",
)  # fmt: skip
HOOK = "https://example.com/hook"
#: A field of a Middleman job → what it cannot be.
JOB_FIELDS: dict[str, list[Any]] = {
    "script_path": [
        7, [], {}, True, "", "/", "../../x", "/etc/passwd", "a/../train.py", "train.py\x00", "a\nb",
        LONG, "\u202etxt.yp", "%2e%2e/x", "C:\\x", "file:///etc/passwd", "absent.py", "\ud800",
    ],
    "input_data_path": [7, [], {}, "../../x", "a\x00b", LONG, "\u202e", "absent.csv", "\ud800"],
    "name": [7, [], {}, "", "a\nb", "\x00", "x" * 201, "\ud800"],
    "gpu_type": [7, None, [], "", "h100", "A" * 65, "t4; rm -rf /", "--privileged"],
    "gpu_count": [0, -1, 9, 10**30, 1.5, "2", None, True, [], float("1e308")],
    "framework": [7, None, "", "mxnet", "../pytorch", "--privileged"],
    "requirements_file": [7, [], "../../x", "absent.txt", "a\x00b", LONG],
    "requirements": [7, [], "--index-url http://169.254.169.254/", "-e .", "a @ file:///etc", LONG],
    "checkpoint_frequency": [0, -1, 10**7, 1.5, "10", None, True],
    "max_runtime_hours": [0, -1, 73, 1.5, "4", None, True],
    "environment_variables": [
        7, [], "A=b", {"": "x"}, {"a b": "x"}, {"A=B": "x"}, {"A": None}, {"A": {}},
        {"A": "b\x00c"}, {"LD_PRELOAD": "/x"}, {"A": "x" * 40_000}, {"A" * 129: "x"},
        {f"A{n}": "x" for n in range(257)},
    ],
    "surprise": [1], "account_id": ["acc_0"], "priority": [1000],
}  # fmt: skip
#: Where the field that is named is another spelling of the one that is wrong.
NAMED = {
    "script_path": ("script_path", "script"),
    "requirements": ("requirements", "requirements_file"),
}
#: method, path, body or query, status. ``{job}`` is a job that has ended, ``{key}`` no key.
CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/jobs?limit=0", None, 400), ("GET", "/jobs?limit=101", None, 400),
    ("GET", "/jobs?limit=many", None, 400), ("GET", "/jobs?offset=-1", None, 400),
    ("GET", "/jobs?offset=99999999999999999999", None, 400),
    ("GET", "/jobs?status=sleeping", None, 400), ("GET", "/jobs?surprise=1", None, 400),
    ("GET", "/jobs/{none}", None, 404), ("GET", "/jobs/1234567", None, 404),
    ("GET", "/jobs/%00", None, 404), ("GET", "/jobs/..%2f..%2fetc%2fpasswd", None, 404),
    ("GET", "/jobs/" + "a" * 3000, None, 404), ("GET", "/jobs/'%20OR%201=1--", None, 404),
    *[("POST", f"/jobs/{{none}}/{verb}", None, 404) for verb in ("cancel", "pause", "resume")],
    *[("POST", f"/jobs/{{job}}/{verb}", None, 409) for verb in ("cancel", "pause", "resume")],
    ("GET", "/jobs/{none}/logs", None, 404), ("GET", "/jobs/{job}/logs?tail=-1", None, 400),
    ("GET", "/jobs/{job}/logs?tail=x", None, 400),
    ("GET", "/jobs/{job}/logs?since=noon", None, 400),
    ("GET", "/billing/transactions?limit=0", None, 400),
    ("GET", "/billing/transactions?offset=-5", None, 400),
    ("DELETE", "/jobs/{job}", None, 405), ("PATCH", "/billing/balance", {}, 405),
    ("GET", "/nothing", None, 404), ("GET", "/billing", None, 404),
    ("DELETE", "/api-keys/{none}", None, 404), ("DELETE", "/api-keys/.........", None, 404),
    *[
        ("POST", "/api-keys", {"name": "n", **wrong}, 400)
        for wrong in (
            {"name": ""}, {"name": 7}, {"name": "x" * 101}, {"name": "a\x00"}, {"scopes": []},
            {"scopes": "read"}, {"scopes": ["root"]}, {"scopes": [1]}, {"expires_in_days": 0},
            {"expires_in_days": 3651}, {"expires_in_days": "7"}, {"key": "mdlm_mine"},
        )
    ],
    *[
        ("POST", "/data/upload-url", {"filename": "a.csv", "size_bytes": 1, **wrong}, 400)
        for wrong in (
            {"filename": name}
            for name in (
                "", 7, None, "../../x", "/../x", "a/../../x", "a\x00b", "a\nb", "x" * 2000,
                "a/" + "x" * 256, "C:\\x", "..", "%2e%2e/x", "\ud800",
            )
        )
    ],
    *[
        ("POST", "/webhooks", {"name": "n", "url": HOOK, "events": ["*"], **wrong}, 400)
        for wrong in (
            {"name": ""}, {"name": 7}, {"name": "x" * 101}, {"events": []}, {"events": "*"},
            {"events": [7]}, {"events": ["job.flew"]}, {"events": [""]}, {"secret": "mine"},
            *({"url": url} for url in URLS),
        )
    ],
    *[
        (method, f"/webhooks/{{none}}{tail}", body, 404)
        for method, tail, body in (
            ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None),
            ("POST", "/regenerate-secret", None), ("POST", "/test", None),
            ("GET", "/deliveries", None), ("POST", "/replay", None),
            ("POST", "/deliveries/{none}/replay", None),
        )
    ],
    ("POST", "/data/upload-url", {"filename": "a.csv", "size_bytes": -1}, 400),
    ("POST", "/data/upload-url", {"filename": "a.csv", "size_bytes": "1"}, 400),
    ("POST", "/data/upload-url", {"filename": "a.csv", "size_bytes": 2**70}, 400),
    ("POST", "/data/upload-url", {"filename": "a.csv"}, 400),
    ("POST", "/data/upload-url", {"filename": "a.csv", "size_bytes": 2**62}, 413),
    ("POST", "/data/upload-url?job_id={none}", {"filename": "a.csv", "size_bytes": 1}, 404),
    ("POST", "/data/download-url", {}, 400), ("POST", "/data/download-url", {"job_id": 7}, 400),
    ("POST", "/data/download-url", {"job_id": "{none}"}, 404),
    ("POST", "/data/download-url", {"job_id": "{job}", "path": 7}, 400),
    ("POST", "/data/download-url", {"job_id": "{job}", "path": "../../x"}, 400),
    ("POST", "/data/download-url", {"job_id": "{job}", "path": "a\x00b"}, 400),
    ("POST", "/data/download-url", {"job_id": "{job}", "path": "/etc/passwd"}, 404),
]  # fmt: skip
IMAGES = (
    "--privileged", "-v/:/host", ";rm -rf /", "a;reboot", "$(reboot)", "`id`", "a b", "", "  ",
    "a\x00b", "a\nb", "x" * 600, "../../x", "UPPER/case", "a:b:c", "docker-archive:/etc/passwd",
    "http://169.254.169.254/x", "\u202eevil", 7, None, [],
)  # fmt: skip
CRONS = (
    "", "soon", "61 * * * *", "* * * * * *", "* * * *", "0 0 30 2 *", "@reboot", "; rm -rf / ; *",
    "*/0 * * * *", "1-100 * * * *", "* * * * *\x00", "9" * 150 + " * * * *", 7, None, [],
)  # fmt: skip
ORCHESTRATOR: list[dict[str, Any]] = [
    *({"image": one} for one in IMAGES),
    *({"schedule": one} for one in CRONS),
    *({"name": one} for one in ("", "  ", "x" * 101, 7, None, "a\nb", "\x00", "\ud800")),
    *(
        {"command": one}
        for one in ([], "ls", [""], [1], [None], ["a\x00b"], None, {}, ["x"] * 1025)
    ),
    *({"max_retries": one} for one in (-1, 11, 1.5, "many", None, [])),
    *({"checkpoint_path": one} for one in ("/", "../../x", "/a/../../etc", "a\x00b", 7, "")),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one person, so that the Orchestrator is open."""
    with running(tmp_path_factory.mktemp("bad") / "data") as one:
        yield one
        assert doctor(one) == []


@pytest.fixture
def http(house: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=house.url, timeout=30) as one:
        yield one


class Everything:
    """Calls the server as its only person; knows how much of everything there is."""

    def __init__(self, house: Server, http: httpx2.Client) -> None:
        self.api, self.http = Api(house), http
        self.key = {"X-API-Key": house.credentials["middleman_api_key"]}

    def counts(self) -> dict[str, Any]:
        """Return what there is of all that a refused request could have made."""
        ok, v1 = self.api.ok, self.api.http
        lists = ("uploads", "keys", "schedules", "webhooks", "jobs")
        found = {p: len(ok(v1.get(f"/v1/{p}"))["items"]) for p in lists}
        found["money"] = v1.get("/v1/credits").text
        found["middleman"] = self.http.get("/api/v1/jobs", headers=self.key).json()["total"]
        found["orchestrator"] = self.http.get("/stats").json()["total_jobs"]
        return found

    def middleman(self, method: str, path: str, status: int, body: Any = None) -> dict[str, Any]:
        sent = {} if body is None else {"content": dumps(body), "headers": {**self.key, **JSON}}
        answer = self.http.request(method, f"/api/v1{path}", **{"headers": self.key, **sent})
        return middleman_error(answer, status, (method, path[:80], str(body)[:80]))


def dumps(body: Any) -> bytes:
    """JSON as a hostile client sends it: lone surrogates too."""

    return json.dumps(body, ensure_ascii=True).encode()


def middleman_error(answer: httpx2.Response, status: int, what: Any = "") -> dict[str, Any]:
    assert answer.status_code == status, (what, answer.text[:300])
    found: dict[str, Any] = answer.json()
    assert set(found) == {"error", "detail"}, what
    assert set(found["error"]) == {"code", "message", "details"}
    assert found["detail"] == found["error"]["message"]
    assert isinstance(found["detail"], str)
    assert 0 < len(found["detail"]) < 3000, what
    assert "Traceback" not in answer.text
    return found


def orchestrator_error(answer: httpx2.Response, status: int, what: Any = "") -> dict[str, str]:
    assert answer.status_code == status, (what, answer.text[:300])
    found: dict[str, str] = answer.json()
    assert set(found) == {"detail", "error_type"}, what
    assert found["detail"]
    assert "Traceback" not in answer.text
    return found


@pytest.fixture
def all_of(house: Server, http: httpx2.Client) -> Iterator[Everything]:
    """Everything, and at the end as much of it as before."""
    one = Everything(house, http)
    before = one.counts()
    yield one
    assert one.counts() == before


@pytest.fixture(scope="module")
def ended(house: Server) -> str:
    """The id of a Middleman job that has ended."""
    api = Api(house)
    api.upload("train.py", b"print('ran')")
    key = {"X-API-Key": house.credentials["middleman_api_key"]}
    body = {"script_path": "train.py", "input_data_path": "train.py"}
    made = api.ok(httpx2.post(f"{house.url}/api/v1/jobs", json=body, headers=key))
    api.wait("job_" + made["id"].replace("-", ""))
    return str(made["id"])


@pytest.mark.parametrize("field", JOB_FIELDS)
def test_no_bad_field_of_a_middleman_job(ended: str, all_of: Everything, field: str) -> None:
    good = {"script_path": "train.py", "input_data_path": "train.py"}
    for value in JOB_FIELDS[field]:
        found = all_of.middleman("POST", "/jobs", 400, {**good, field: value})
        assert found["error"]["code"] == "invalid_request"
        named = str(found["error"]["details"].get("field", "")).partition(".")[0]
        whole = " body " in found["detail"]  # no JSON, or no text, before any field is looked at
        assert whole or named in NAMED.get(field, (field,)), (value, named, found["detail"])


def test_no_bad_call_of_middleman(ended: str, all_of: Everything) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if not isinstance(value, str):
            return value
        return value.replace("{none}", "0" * 32).replace("{job}", ended)

    for method, path, body, status in CALLS:
        all_of.middleman(method, filled(path), status, filled(body))


@pytest.mark.parametrize(
    "path", ["/jobs", "/api-keys", "/data/upload-url", "/data/download-url", "/webhooks"]
)
def test_no_bad_body_of_middleman(all_of: Everything, path: str) -> None:
    def send(content: bytes, status: int, **headers: str) -> None:
        head = {**all_of.key, **JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}
        answer = all_of.http.post(f"/api/v1{path}", content=content, headers=head)
        middleman_error(answer, status, content[:40])

    for content in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"{}",
        b"\xff\xfe",
        b"{" * 5000,
        b"NaN",
    ):
        send(content, 400)
    send(b'{"name": "' + b"x" * 300_000 + b'"}', 413)
    send(b"a=b", 415, Content_Type="application/x-www-form-urlencoded")
    send(b"{}", 415, Content_Type="text/plain")


def test_no_bad_field_of_an_orchestrator_job(http: httpx2.Client, all_of: Everything) -> None:
    good = {"name": "n", "image": "python:3.12", "command": ["ls"], "schedule": "0 2 1 1 *"}
    for wrong in ORCHESTRATOR:
        body = dumps({**good, **wrong})
        found = orchestrator_error(http.post("/jobs", content=body, headers=JSON), 400, wrong)
        assert found["error_type"] == "ValidationError"
    for name in good:
        left = {k: v for k, v in good.items() if k != name}
        found = orchestrator_error(http.post("/jobs", json=left), 400, name)
        assert name in found["detail"]


def test_no_bad_call_of_the_orchestrator(http: httpx2.Client, all_of: Everything) -> None:
    for one in ("train-00000000", "train-", "%00", "..%2f..%2fx", "a" * 200, "'%20OR%201=1--"):
        for method, tail in (
            ("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/run-now"),
            ("GET", "/logs"), ("GET", "/attempts"), ("GET", "/events"), ("GET", "/next-runs"),
        ):  # fmt: skip
            sent = {"json": {}} if method in ("PUT", "POST") else {}
            orchestrator_error(http.request(method, f"/jobs/{one}{tail}", **sent), 404, one)
    for query in ("page=0", "page=x", "page=-1", "page_size=0", "page_size=101",
                  "status_filter=asleep", "status=asleep"):  # fmt: skip
        orchestrator_error(http.get(f"/jobs?{query}"), 400, query)
    orchestrator_error(http.get("/jobs/" + "a" * 201), 400)
    orchestrator_error(http.patch("/jobs"), 405)
    for content in (b"", b"{", b"[]", b"null", b"\xff", b"{}"):
        orchestrator_error(http.post("/jobs", content=content, headers=JSON), 400, content)
    orchestrator_error(http.post("/jobs", content=b"x" * 300_000, headers=JSON), 413)
    orchestrator_error(
        http.post("/jobs", content=b"{}", headers={"Content-Type": "text/plain"}), 415
    )
    orchestrator_error(http.get("/jobs", headers={"X-API-Key": "wrong"}), 401)


def test_no_hostile_webhook_address(all_of: Everything) -> None:
    for url in URLS:
        body = dumps({"name": "hook", "url": url, "events": ["*"]})
        answer = all_of.api.http.post("/v1/webhooks", content=body, headers=JSON)
        assert answer.status_code == 400, (url, answer.text[:300])
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        assert "secret" not in answer.text


def test_a_sender_that_goes_away_is_no_fault_of_the_server(
    house: Server, http: httpx2.Client, all_of: Everything
) -> None:
    head = (
        f"POST /api/validate HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
        f"Authorization: {house.credentials['mimaas_token']}\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    seen = len(house.log())
    with socket.create_connection(("127.0.0.1", house.port), 10) as link:
        link.sendall(head.encode())
        assert http.get("/v1/health").status_code == 200
    time.sleep(0.5)
    assert "Traceback" not in house.log()[seen:]


def test_bytes_that_are_no_http_end_that_connection_only(house: Server, all_of: Everything) -> None:
    for raw in (
        b"\x16\x03\x01\x02\x00",
        b"GET /jobs\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\n" * 3 + b"\r\n",
    ):
        with socket.create_connection(("127.0.0.1", house.port), 10) as link:
            link.settimeout(10)
            link.sendall(raw)
            link.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in link.recv(65536)
    assert all_of.http.get("/health").json()["status"] == "healthy"


def test_a_hostile_script_is_told_and_costs_the_others_nothing(
    house: Server, ended: str, tmp_path: Path
) -> None:
    """Names it leaves behind that no archive may hold are left out and told; the rest is kept."""
    api = Api(house)
    code = (
        "import os\nfolder = os.environ['OUTPUT_DIR']\n"
        "for name in ('good.txt', 'a\\\\b', '\\u202eevil', '%2e%2e', 'x' * 255, 'line\\nbreak'):\n"
        "    open(os.path.join(folder, name), 'w').write(name)\n"
        "os.symlink('/etc/passwd', folder + '/link')\nos.mkfifo(folder + '/pipe')\n"
        "print('\\x1b]0;owned\\x07', '\\u202e', '[/INST]', flush=True)\n"
    )
    job = api.python(code)
    assert api.wait(job)["state"] == "SUCCEEDED"
    found = api.ok(api.http.get(f"/v1/jobs/{job}/artifacts"))["items"]
    paths = {f["path"] for one in found for f in one["files"]}
    assert {"good.txt", "x" * 255} <= paths
    assert not paths & {"link", "pipe", "a\\b", "%2e%2e", "line\nbreak"}
    told = api.logs(job, "system").decode()
    assert told.count("Not collected") == 5, told
