"""A small server that speaks docs/design/api-v1.md as far as the SDK needs, on a loopback port."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "ts_stub"
NOW = "2026-01-01T12:00:00Z"
KEY_ID = "key_" + "1" * 32
USER = {"id": "usr_" + "1" * 32, "username": "ada", "role": "member", "operator": False}
ACCOUNT = {"id": "acc_" + "1" * 32, "name": "lab"}
LOG = "Epoch 1\n\x1b[31mred\x1b[0m \x1b]0;title\x07tail\n"


def problem(status: int, code: str, detail: str = "no", **extra: Any) -> JSONResponse:
    body = {"status": status, "code": code, "detail": detail, "request_id": "req_1", **extra}
    return JSONResponse(body, status, media_type="application/problem+json")


def page(request: Request, found: list[Any]) -> JSONResponse:
    start = int(request.query_params.get("cursor", "0"))
    end = start + int(request.query_params.get("limit", "50"))
    more = str(end) if end < len(found) else None
    return JSONResponse({"items": found[start:end], "next": more})


class Stub:
    """The state of the server, for tests to set and look at."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {"model.pt": b"weights"}
        self.served: dict[str, bytes] = {}
        self.filename: str | None = None
        self.requests: list[Request] = []
        self.made: dict[str, Any] = {}
        self.outcome = ("SUCCEEDED", "completed")
        self.lose_puts = self.cut_streams = self.drop_creates = 0
        self.refuse: JSONResponse | None = None
        self.url = ""

    def job(self, number: int = 0, **more: Any) -> dict[str, Any]:
        id_ = f"job_{number or len(self.jobs) + 1:032x}"
        made = {"id": id_, "name": "digits", "state": "QUEUED", "created_at": NOW, **more}
        self.jobs[id_] = {"command": ["python", "train.py"], **made}
        return self.jobs[id_]

    async def guarded(self, request: Request) -> Response:
        self.requests.append(request)
        if self.refuse is not None:
            return self.refuse
        path = request.url.path
        if path.startswith("/signed/"):
            return await self._signed(request)
        if path == "/v1/login":
            return await self._login(request)
        if path == "/v1/health":
            return JSONResponse({"status": "ok", "version": "1", "time": NOW})
        if request.headers.get("authorization") not in (f"Bearer {KEY}", "Bearer session"):
            return problem(401, "not_authenticated")
        noun, _, rest = path.removeprefix("/v1/").partition("/")
        answer = getattr(self, f"_{noun}", None)
        return await answer(request, rest) if answer else problem(404, "not_found")

    async def _login(self, request: Request) -> Response:
        body = await request.json()
        if body["password"] != "right":
            return problem(401, "not_authenticated", "wrong password")
        return JSONResponse({"token": "session", "user": USER, "account": ACCOUNT})

    async def _logout(self, request: Request, rest: str) -> Response:
        return Response(status_code=204)

    async def _me(self, request: Request, rest: str) -> Response:
        return JSONResponse({"user": USER, "account": ACCOUNT, "right": "write", "key_id": KEY_ID})

    async def _keys(self, request: Request, rest: str) -> Response:
        if request.method == "DELETE":
            return Response(status_code=204)
        key = {"id": KEY_ID, "name": "ci", "prefix": "ts_", "scopes": ["read"]}
        if request.method == "GET":
            return JSONResponse({"items": [key]})
        return JSONResponse({**key, "secret": KEY}, 201)

    async def _users(self, request: Request, rest: str) -> Response:
        return JSONResponse({"items": [USER]}) if request.method == "GET" else JSONResponse(USER)

    async def _accounts(self, request: Request, rest: str) -> Response:
        if rest.endswith("/grants"):
            amount = (await request.json())["amount_ucredits"]
            return JSONResponse({"unit": "credit", "available_ucredits": amount})
        return (
            JSONResponse({"items": [ACCOUNT]}) if request.method == "GET" else JSONResponse(ACCOUNT)
        )

    async def _credits(self, request: Request, rest: str) -> Response:
        if rest == "entries":
            return page(request, [{"seq": 1, "kind": "grant", "amount_ucredits": 10}])
        return JSONResponse({"balances": [{"unit": "credit", "balance_ucredits": 10}]})

    async def _offers(self, request: Request, rest: str) -> Response:
        offer = {"id": "local", "pool": "local-cpu", "cpus": 2, "memory_bytes": 1024**3}
        return JSONResponse({"items": [offer], "pools": [{"name": "local-cpu"}]})

    async def _uploads(self, request: Request, rest: str) -> Response:
        if request.method == "POST":
            body = await request.json()
            if body["size_bytes"] > 10**6:
                return problem(413, "too_large")
            id_ = f"upl_{len(self.uploads) + 1:032x}"
            self.uploads[id_] = {"id": id_, **body, "created_at": NOW, "completed_at": None}
            url = f"{self.url}/signed/{id_}"
            return JSONResponse({"id": id_, "path": body["path"], "url": url, "method": "PUT"}, 201)
        if rest and request.method == "GET":
            return JSONResponse(self.uploads[rest])
        if rest:
            return Response(status_code=204)
        return page(request, list(self.uploads.values()))

    async def _signed(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/signed/")
        if request.method == "GET":
            data = self.served[name]
            return Response(data, media_type="application/octet-stream")
        upload, body = self.uploads[name], await request.body()
        if hashlib.sha256(body).hexdigest() != upload["sha256"]:
            return problem(409, "digest_conflict")
        if upload["completed_at"]:
            return problem(409, "conflict", "once")
        upload["completed_at"] = NOW
        self.files[upload["path"]] = body
        if self.lose_puts:
            self.lose_puts -= 1
            return problem(503, "unavailable")
        return JSONResponse({k: upload[k] for k in ("id", "path", "size_bytes", "sha256")}, 201)

    async def _downloads(self, request: Request, rest: str) -> Response:
        path = (await request.json())["path"]
        name = (path or "all.zip").rsplit("/", 1)[-1]
        data = b"zip" if path is None else self.files.get(name)
        if data is None:
            return problem(404, "not_found", "there is: model.pt")
        data = self.served.setdefault(name, data)
        filename = name if self.filename is None else self.filename
        body = {"url": f"{self.url}/signed/{name}", "size_bytes": len(data), "filename": filename}
        return JSONResponse(body, 201)

    async def _events(self, request: Request, rest: str) -> Response:
        return page(request, [{"seq": 1, "kind": "job.queued"}])

    async def _jobs(self, request: Request, rest: str) -> Response:
        id_, _, what = rest.partition("/")
        if rest in ("", "plan"):
            return await self._all_jobs(request, rest)
        if id_ not in self.jobs:
            return problem(404, "not_found", "There is no job with that id.")
        if what:
            return await self._of_job(request, self.jobs[id_], what)
        if request.method == "DELETE":
            del self.jobs[id_]
            return Response(status_code=204)
        if request.method == "PATCH":
            self.jobs[id_] |= await request.json()
        return JSONResponse(self.jobs[id_])

    async def _all_jobs(self, request: Request, rest: str) -> Response:
        if rest == "plan":
            await request.json()
            starts = {"code": "ready", "detail": "now", "fix": None}
            return JSONResponse({"pool": "local-cpu", "hold_ucredits": 24, "starts": starts})
        if request.method == "GET":
            states = request.query_params.getlist("state")
            found = [j for j in self.jobs.values() if not states or j["state"] in states]
            return page(request, found)
        key = request.headers["idempotency-key"]
        if key not in self.made:
            spec = await request.json()
            if isinstance(spec["command"], str):
                spec["command"] = spec["command"].split()
            self.made[key] = self.job(**spec)
        if self.drop_creates:
            self.drop_creates -= 1
            return problem(503, "unavailable")
        return JSONResponse(self.made[key], 201)

    async def _of_job(self, request: Request, job: dict[str, Any], what: str) -> Response:
        if what == "logs/follow":
            return StreamingResponse(self._stream(request, job), media_type="text/event-stream")
        if what in ("cancel", "pause", "resume"):
            if job["state"] in ("SUCCEEDED", "FAILED"):
                return problem(409, "illegal_transition", "The job has ended.")
            job["state"] = {"cancel": "CANCELLED", "pause": "PAUSED", "resume": "QUEUED"}[what]
            return JSONResponse(job)
        if what == "retry":
            return JSONResponse(self.job(retry_of=job["id"]), 201)
        if what == "checkpoint":
            return Response(status_code=202)
        if what == "receipt" and job["state"] not in ("SUCCEEDED", "FAILED"):
            return problem(409, "conflict", "It has not ended.")
        return JSONResponse(self._views(request, job)[what])

    def _views(self, request: Request, job: dict[str, Any]) -> dict[str, Any]:
        attempt = {"id": "att_1", "number": 1, "state": "RUNNING", "started_at": NOW}
        sha256 = hashlib.sha256(b"weights").hexdigest()
        files = [{"path": "model.pt", "size_bytes": 7, "sha256": sha256}]
        log = {"stream": "stdout", "attempt": 1, "offset": 0, "next": len(LOG), "size": len(LOG)}
        metrics: dict[str, Any] = {
            "items": [{"key": "loss", "n": 2, "latest": {"step": 2, "value": 1}}]
        }
        if "key" in request.query_params:
            metrics = {
                "key": "loss",
                "points": [[1, 5, 2.0], [2, 6, None, "nan"]],
                "buckets": False,
            }
        return {
            "attempts": {"items": [attempt]},
            "checkpoints": {"items": []},
            "artifacts": {"items": [{"id": "art_1", "kind": "artifact", "files": files}]},
            "metrics": metrics,
            "events": {"items": [{"seq": 1, "kind": "job.queued", "at": NOW}], "next": None},
            "receipt": {"job_id": job["id"], "state": job["state"], "captured_ucredits": 405},
            "logs": {**log, "text": LOG},
        }

    async def _stream(self, request: Request, job: dict[str, Any]) -> AsyncIterator[str]:
        start = int((request.headers.get("last-event-id") or "1.0.0.0").split(".")[1])
        job["state"] = "RUNNING"
        yield self._event("state", {"state": "RUNNING"}, start)
        for at in range(start, len(LOG), 8):
            end = min(at + 8, len(LOG))
            data = {
                "stream": "stdout",
                "attempt": 1,
                "offset": at,
                "next": end,
                "text": LOG[at:end],
            }
            yield self._event("log", data, end)
            if self.cut_streams:
                self.cut_streams -= 1
                raise RuntimeError("the line drops, as the test asked")
        while self.outcome[0] == "RUNNING":
            await asyncio.sleep(0.01)
        job["state"], job["reason"] = self.outcome
        yield self._event("end", {"state": job["state"]}, len(LOG))

    @staticmethod
    def _event(kind: str, data: dict[str, Any], at: int) -> str:
        return f"id: 1.{at}.0.0\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


@contextmanager
def serving() -> Iterator[Stub]:
    """Serve a fresh stub from a thread."""
    stub = Stub()
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", stub.guarded, methods=methods)])
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    stub.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield stub
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
