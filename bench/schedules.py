"""Many schedules due at the same second: how late the last one fires, each of them once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from tests.support.server import Api, Server

from bench.rows import Row

GOAL_S = 2.0
N = 1000
#: To make them all before they are due, at so many seconds each.
LEAD_S = 0.02


def rows(server: Server) -> list[Row]:
    """Measure everything of this file."""
    api = Api(server)
    due = datetime.now(UTC) + timedelta(seconds=10 + N * LEAD_S)
    due = due.replace(second=0, microsecond=0) + timedelta(minutes=1)
    cron = f"{due.minute} {due.hour} {due.day} {due.month} *"
    job = {"command": ["true"], "resources": {"cpus": 0.05}, "max_runtime_s": 60}

    def make(i: int) -> str:
        body = {"name": f"b{i}", "cron": cron, "job": job}
        return str(api.ok(api.http.post("/v1/schedules", json=body))["id"])

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(make, range(N)))
    assert datetime.now(UTC) < due, "made too slowly to be due together"
    time.sleep((due - datetime.now(UTC)).total_seconds() + GOAL_S)
    late = []
    for one in ids:
        fires = _fires(api, one)
        assert len(fires) == 1, fires
        assert datetime.fromisoformat(fires[0]["due_at"].replace("Z", "+00:00")) == due
        late.append(float(fires[0]["late_s"]))
    return [
        Row(f"{N} schedules due at once, the last", max(late), "s late", GOAL_S, "goal s", 1, True)
    ]


def _fires(api: Api, schedule_id: str) -> list[dict[str, str]]:
    """Return what a schedule fired, once there is any."""
    until = time.monotonic() + 60
    while True:
        found: list[dict[str, str]] = api.ok(api.http.get(f"/v1/schedules/{schedule_id}/fires"))[
            "items"
        ]
        if found or time.monotonic() > until:
            return found
        time.sleep(0.1)
