"""Every named crash point, found by itself: die there, start again, lose nothing (rig 1)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx2
import pytest
from tests.support.server import Api, Server, doctor, eventually, stop_leftovers

from trainshed.bootstrap import server as _  # noqa: F401  imports, and so registers, every point
from trainshed.ports import crash


def points() -> list[str]:
    return sorted(crash.names())


def test_there_are_points_in_every_wing_that_writes() -> None:
    rooms = {name.split(".")[0] for name in points()}
    assert {"store", "blobs"} <= rooms


@pytest.mark.parametrize("point", points())
def test_crash_and_recovery(point: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        api = Api(server)
        first = api.python("print('before')")
        api.wait(first)
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
        assert doctor(server) == []
    finally:
        server.kill()
        stop_leftovers(tmp_path / "data")
