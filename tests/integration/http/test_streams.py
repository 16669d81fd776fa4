"""Server-sent events over a real socket: resume, end, revocation, limits (SECURITY 14, 42)."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.deps import NO_LIMITS, World, serving, world

from trainshed.domain.attempt import Attempt
from trainshed.domain.job import conclude
from trainshed.domain.states import AttemptState, JobState, Reason
from trainshed.http.hall import HttpSettings
from trainshed.ports.streams import Point


@pytest.fixture
def url(w: World) -> Iterator[str]:
    with serving(w.app) as one:
        yield one


def frames(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """Parse events until the stream ends."""
    now: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if not line and now:
            yield now
            now = {}
        elif name == "data":
            now["data"] = json.loads(value)
        elif name in ("event", "id"):
            now[name] = value


def follow(
    url: str, path: str, headers: dict[str, str], heard: threading.Event | None = None
) -> list[dict[str, Any]]:
    """Return every event until the stream ends; ``heard`` is set at the first of the log."""
    got: list[dict[str, Any]] = []
    with httpx2.stream("GET", url + path, headers=headers, timeout=20) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        for one in frames(response):
            got.append(one)
            if heard is not None and one["event"] == "log":
                heard.set()
    return got


def running(w: World) -> Attempt:
    return w.lease(w.admin, w.submit(w.admin))


def log(w: World, one: Attempt, offset: int, data: bytes, stream: str = "stdout") -> None:
    now = w.clock.utc_now()
    w.deps.store.write(lambda tx: tx.streams.append_log(one.id, stream, offset, data, now))
    w.deps.bus.notify(f"stream:{one.id}")


def end(w: World, one: Attempt) -> None:
    now = w.clock.utc_now()

    def apply(tx: Any) -> None:
        job = tx.jobs.get(one.job_id)
        done = dataclasses.replace(one, state=AttemptState.SUCCEEDED, message="", ended_at=now)
        assert tx.attempts.save_if_held(done)
        tx.jobs.save(conclude(job, JobState.SUCCEEDED, Reason.COMPLETED, "", now))

    w.deps.store.write(apply)
    w.deps.bus.notify("events")


def test_a_log_is_followed_to_its_end_and_resumed_anywhere(w: World, url: str) -> None:
    one = running(w)
    path = f"/v1/jobs/{one.job_id}/logs/follow"
    log(w, one, 0, b"first\n")

    heard = threading.Event()

    def later() -> None:
        assert heard.wait(20)
        log(w, one, 6, "zwölf €\n".encode()[:9])
        time.sleep(0.2)
        log(w, one, 15, "zwölf €\n".encode()[9:])
        log(w, one, 0, b"oops\n", "stderr")
        end(w, one)

    thread = threading.Thread(target=later)
    thread.start()
    got = follow(url, path, w.admin.headers, heard)
    thread.join()
    text = "".join(
        f["data"]["text"] for f in got if f["event"] == "log" and f["data"]["stream"] == "stdout"
    )
    assert text == "first\nzwölf €\n"
    assert [f["data"]["state"] for f in got if f["event"] == "state"][-1] == "SUCCEEDED"
    assert got[-1]["event"] == "end"
    assert got[-1]["data"] == {"state": "SUCCEEDED"}
    first = next(f for f in got if f["event"] == "log")
    assert first["id"] == "1.6.0.0"
    resumed = follow(url, path, {**w.admin.headers, "Last-Event-ID": first["id"]})
    rest = "".join(
        f["data"]["text"] for f in resumed
        if f["event"] == "log" and f["data"]["stream"] == "stdout"
    )  # fmt: skip
    assert rest == "zwölf €\n"
    offset = follow(url, f"{path}?stream=stdout&offset=6", w.admin.headers)
    assert "".join(f["data"]["text"] for f in offset if f["event"] == "log") == "zwölf €\n"
    for bad in ("x", "1", "1.2.3", "9.0.0.0", "1.2.3.4.5", "1.-2.3.4"):
        headers = {**w.admin.headers, "Last-Event-ID": bad}
        assert httpx2.get(url + path, headers=headers).status_code == 400


def test_a_long_log_comes_whole(w: World, url: str) -> None:
    one = running(w)
    data = "".join(f"line {n} ä\n" for n in range(30_000)).encode()
    for at in range(0, len(data), 60_000):
        log(w, one, at, data[at : at + 60_000])
    end(w, one)
    got = follow(url, f"/v1/jobs/{one.job_id}/logs/follow", w.admin.headers)
    assert "".join(f["data"]["text"] for f in got if f["event"] == "log").encode() == data


def test_bytes_that_are_no_text_do_not_stop_a_log(w: World, url: str) -> None:
    one = running(w)
    log(w, one, 0, b"ok \xff\xfe\xe2\x82")
    end(w, one)
    path = f"/v1/jobs/{one.job_id}/logs"
    got = follow(url, path + "/follow", w.admin.headers)
    assert "".join(f["data"]["text"] for f in got if f["event"] == "log") == "ok ���"
    raw = w.client.get(path + "?raw=true", headers=w.admin.headers)
    assert raw.content == b"ok \xff\xfe\xe2\x82"
    assert raw.headers["content-disposition"].startswith("attachment")
    part = w.client.get(path, headers=w.admin.headers).json()
    assert (part["next"], part["size"]) == (5, 7)
    rest = w.client.get(path + "?offset=5", headers=w.admin.headers).json()
    assert (rest["next"], rest["text"]) == (7, "�")
    tail = w.client.get(path + "?tail=1", headers=w.admin.headers).json()
    assert tail["offset"] == 0


def test_metrics_are_followed_and_read(w: World, url: str) -> None:
    one = running(w)
    points = [Point("loss", n, 1000 + n, 1 / (n + 1)) for n in range(100)]
    points += [Point("odd", 1, 1, float("nan")), Point("odd", 2, 2, float("-inf"))]
    w.deps.store.write(lambda tx: tx.streams.append_points(one.id, 0, points))
    end(w, one)
    path = f"/v1/jobs/{one.job_id}/metrics"
    got = follow(url, path + "/follow", w.admin.headers)
    values = [f["data"] for f in got if f["event"] == "metric"]
    assert len(values) == 102
    assert values[-1] == {"key": "odd", "step": 2, "at_ms": 2, "value": None, "flag": "-inf"}
    assert got[-1]["event"] == "end"
    cursor = next(f["id"] for f in got if "id" in f)
    again = follow(url, path + "/follow", {**w.admin.headers, "Last-Event-ID": cursor})
    assert [f["event"] for f in again] == ["end"]
    items = w.client.get(path, headers=w.admin.headers).json()["items"]
    assert {i["key"]: i["n"] for i in items} == {"loss": 100, "odd": 2}
    odd = w.client.get(path + "?key=odd", headers=w.admin.headers).json()
    assert odd == {
        "key": "odd",
        "points": [[1, 1, None, "nan"], [2, 2, None, "-inf"]],
        "buckets": False,
    }
    few = w.client.get(path + "?key=loss&max_points=10", headers=w.admin.headers).json()
    assert few["buckets"] is True
    assert len(few["points"]) <= 10
    assert max(p[2] for p in few["points"]) == 1.0
    assert w.client.get(path + "?key=none", headers=w.admin.headers).status_code == 404
    job = w.client.get(f"/v1/jobs/{one.job_id}", headers=w.admin.headers).json()
    assert job["progress"] == {"epoch": None, "epoch_total": None, "step": 99, "loss": 0.01}


def test_events_resume_by_number_and_hold_one_tenant_only(w: World, url: str) -> None:
    other = w.person("other")
    w.credits(other)
    secret_job = w.submit(other)
    job_id = w.submit(w.admin)
    page = w.client.get("/v1/events?limit=200", headers=w.admin.headers)
    assert job_id in page.text
    assert secret_job not in page.text
    seqs = [e["seq"] for e in page.json()["items"]]
    first = w.client.get("/v1/events?limit=1", headers=w.admin.headers).json()
    more = w.client.get(f"/v1/events?cursor={first['next']}", headers=w.admin.headers).json()
    assert [e["seq"] for e in more["items"]] == seqs[1:]
    headers = {**w.admin.headers, "Accept": "text/event-stream", "Last-Event-ID": str(seqs[0])}
    got: list[dict[str, Any]] = []
    with httpx2.stream("GET", url + "/v1/events", headers=headers, timeout=20) as response:
        for frame in frames(response):
            got.append(frame)
            if len(got) == len(seqs) - 1:
                w.submit(other)
                later = w.submit(w.admin)
            if len(got) == len(seqs) + 1:
                break
    assert [int(f["id"]) for f in got][: len(seqs) - 1] == seqs[1:]
    assert {f["data"]["job_id"] for f in got[len(seqs) - 1 :]} == {later}


def test_a_revoked_key_closes_its_open_streams(w: World, url: str) -> None:
    made = w.client.post("/v1/keys", json={"name": "k"}, headers=w.admin.headers).json()
    headers = {"X-API-Key": made["secret"], "Accept": "text/event-stream"}
    with httpx2.stream("GET", url + "/v1/events", headers=headers, timeout=20) as response:
        stream = frames(response)
        next(stream)
        began = time.monotonic()
        gone = w.client.delete(f"/v1/keys/{made['id']}", headers=w.admin.headers)
        assert gone.status_code == 204
        rest = list(stream)
    assert rest[-1]["event"] == "closed"
    assert rest[-1]["data"]["code"] == "not_authenticated"
    assert time.monotonic() - began < 5


def test_open_streams_are_limited_and_counted_back(tmp_path: Path) -> None:
    settings = HttpSettings(rate_limits=NO_LIMITS, max_streams=2)
    with world(tmp_path, settings=settings) as w, serving(w.app) as url:
        headers = {**w.admin.headers, "Accept": "text/event-stream"}

        def stream() -> Any:
            return httpx2.stream("GET", url + "/v1/events", headers=headers, timeout=20)

        with stream() as one, stream() as two:
            lines = one.iter_lines(), two.iter_lines()  # held: a dropped iterator closes its stream
            assert [next(each) for each in lines] == [": open", ": open"]
            assert httpx2.get(url + "/v1/events", headers=headers).status_code == 429
        until = time.monotonic() + 10
        status = 0
        while status != 200 and time.monotonic() < until:
            with stream() as three:
                status = three.status_code
        assert status == 200


def test_a_job_that_does_not_exist_is_no_stream(w: World, url: str) -> None:
    for kind in ("logs", "metrics"):
        path = f"/v1/jobs/job_{'0' * 32}/{kind}/follow"
        assert httpx2.get(url + path, headers=w.admin.headers).status_code == 404
