"""Every named crash point, found by itself: die there, start again, lose nothing (rig 1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.support.server import Api, Server, doctor, eventually, stop_leftovers
from tests.support.sink import Sink, sinking

from trainshed.bootstrap import server as _  # noqa: F401  imports, and so registers, every point
from trainshed.ports import crash

OPEN = {"TRAINSHED_OUTBOUND_ALLOW": '["127.0.0.0/8"]'}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as made:
        yield made


def points() -> list[str]:
    return sorted(crash.names())


def test_there_are_points_in_every_wing_that_writes() -> None:
    rooms = {name.split(".")[0] for name in points()}
    assert {"store", "blobs"} <= rooms


@pytest.mark.parametrize("point", points())
def test_crash_and_recovery(point: str, tmp_path: Path, sink: Sink) -> None:
    server = Server(tmp_path / "data", **OPEN).start()
    try:
        api = Api(server)
        first = api.python("print('before')")
        api.wait(first)
        hook = {"name": "all", "url": sink.url("/ok"), "events": ["job.succeeded"]}
        api.ok(api.http.post("/v1/webhooks", json=hook))
        server.stop()
        server.env["TRAINSHED_CRASHPOINT"] = point
        acknowledged = [first]
        with contextlib.suppress(httpx2.HTTPError, AssertionError, OSError):
            server.start()
            api = Api(server)
            for _ in range(5):
                acknowledged.append(
                    api.python("import os; open(os.environ['TRAINSHED_OUTPUT_DIR']+'/x','w')")
                )
            schedule = {"name": "often", "cron": "0 0 1 1 *", "job": {"command": ["true"]}}
            made = api.ok(api.http.post("/v1/schedules", json=schedule))
            api.http.post(f"/v1/schedules/{made['id']}/run-now")
        process = server.process
        assert process is not None
        eventually(lambda: process.poll() is not None, 20, f"the server dies at {point}")
        assert process.returncode == 137
        server.kill()
        del server.env["TRAINSHED_CRASHPOINT"]
        server.start()
        api = Api(server)
        for job_id in acknowledged:
            assert api.wait(job_id, timeout_s=60)["state"] == "SUCCEEDED"
        told = set(acknowledged[1:])
        eventually(
            lambda: told <= {g.event["data"]["job_id"] for g in sink.got}, 50, "every end is told"
        )
        by_event = {(g.event["data"]["seq"], g.id) for g in sink.got}
        assert len(by_event) == len({seq for seq, _ in by_event}), "a repeat keeps its id"
        assert doctor(server) == []
    finally:
        server.kill()
        stop_leftovers(tmp_path / "data")
