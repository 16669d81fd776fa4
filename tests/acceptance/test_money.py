"""64 submits at once with credits for 10 give exactly 10, over HTTP, with invariants kept (G10);
and the ledger adds up however creates, cancels, kills and repeated ends fall together.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.replay import replaying
from tests.support.server import Api, Server, doctor, running

SOAK = os.environ.get("TRAINSHED_SOAK") == "1"
ROUNDS, JOBS = (10, 40) if SOAK else (2, 12)
CREDIT = 1_000_000


def test_credits_for_ten_give_exactly_ten(tmp_path: Path) -> None:
    with running(tmp_path / "data", TRAINSHED_ADMIN_CREDITS="10") as server:
        api = Api(server)
        body = {
            "name": "one", "command": ["sleep", "30"], "max_runtime_s": 3600,
            "resources": {"cpus": 1},
        }  # fmt: skip
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: api.http.post("/v1/jobs", json=body), range(64)))
        made = [a.json() for a in answers if a.status_code == 201]
        refused = [a for a in answers if a.status_code == 402]
        assert len(made) == 10
        assert len(refused) == 54
        assert refused[0].json()["code"] == "payment_required"
        assert refused[0].headers["content-type"] == "application/problem+json"
        balance = api.ok(api.http.get("/v1/credits"))["balances"][0]
        assert balance["held_ucredits"] == 10_000_000
        assert balance["available_ucredits"] == 0
        for job in made:
            api.ok(api.http.post(f"/v1/jobs/{job['id']}/cancel"))
        for job in made:
            assert api.wait(job["id"])["state"] == "CANCELLED"
        balance = api.ok(api.http.get("/v1/credits"))["balances"][0]
        assert balance["held_ucredits"] == 0
        assert doctor(server) == []


class Storm:
    """One round of creates and cancels by both doors at once; remembers what was acknowledged."""

    def __init__(self, server: Server, seed: int) -> None:
        self.chance = random.Random(seed)
        self.url, self.made = server.url, list[str]()
        self.keys = server.credentials

    def one(self, number: int) -> None:
        """Create a job by one door and, perhaps, cancel it by both at once."""
        seconds = self.chance.choice(("0", "0.1", "3"))
        with contextlib.suppress(httpx2.HTTPError), httpx2.Client(timeout=30) as http:
            if number % 2:
                made = http.post(f"{self.url}/api/v1/jobs", headers=self.other, json={
                    "script_path": "nap.py", "input_data_path": "nap.py", "max_runtime_hours": 1,
                    "environment_variables": {"NAP": seconds},
                })  # fmt: skip
            else:
                made = http.post(f"{self.url}/v1/jobs", headers=self.own, json={
                    "command": ["sleep", seconds], "max_runtime_s": 3600,
                })  # fmt: skip
            if made.status_code != 201:
                assert made.status_code in (402, 503), made.text
                return
            plain = made.json()["id"].removeprefix("job_").replace("-", "")
            self.made.append("job_" + plain)
            if number % 3 == 0:
                time.sleep(self.chance.random() * 0.5)
                http.post(f"{self.url}/v1/jobs/job_{plain}/cancel", headers=self.own)
                http.post(f"{self.url}/middleman/api/v1/jobs/{plain}/cancel", headers=self.other)

    @property
    def own(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys['api_key']}"}

    @property
    def other(self) -> dict[str, str]:
        return {"X-API-Key": self.keys["middleman_api_key"]}


@pytest.mark.timeout(3600 if SOAK else 240)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_ledger_adds_up_over_kills_and_repeated_ends(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("pg_server")
        url = fresh().replace("postgresql:", "postgresql+psycopg:")
        monkeypatch.setenv("TRAINSHED_DATABASE", url)
    seed = int(os.environ.get("TRAINSHED_SEED", str(int(time.time()))))
    print(f"seed {seed}")
    made, repeated = list[str](), list[int]()
    with running(tmp_path / "data", TRAINSHED_LEASE_S="5", TRAINSHED_HEARTBEAT_S="1") as server:
        nap = b"import os, time\ntime.sleep(float(os.environ['NAP']))\n"
        Api(server).upload("nap.py", nap)
        for number in range(ROUNDS):
            with replaying(server.data) as between:
                storm = Storm(server, seed + number)
                with ThreadPoolExecutor(6) as pool:
                    waiting = pool.map(storm.one, range(JOBS))
                    time.sleep(1 + storm.chance.random() * 2)
                    server.kill()
                    list(waiting)
            repeated += between.answers
            made += storm.made
            server.start()
            assert doctor(server) == [], f"seed {seed}"
        api = Api(server)
        with replaying(server.data) as between:
            made.append(api.submit(["true"]))  # one end at least that nobody kills
            for job_id in made:
                api.wait(job_id, timeout_s=120)
        repeated += between.answers
        assert made
        assert repeated, "no end was repeated"
        assert set(repeated) <= {200, 401, 409, 503}, repeated
        assert doctor(server) == [], f"seed {seed}"
        check_books(api)


def check_books(api: Api) -> None:
    """Entries sum to the balance, nothing is held, and each job paid once what its receipt says."""
    balances = api.ok(api.http.get("/v1/credits"))["balances"]
    rows: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        params = {"limit": 100, **({"cursor": page["next"]} if page["next"] else {})}
        page = api.ok(api.http.get("/v1/credits/entries", params=params))
        rows += page["items"]
    for balance in balances:
        mine = [r["amount_ucredits"] for r in rows if r["unit"] == balance["unit"]]
        assert sum(mine) == balance["balance_ucredits"]
        assert balance["held_ucredits"] == 0
        assert balance["available_ucredits"] == balance["balance_ucredits"]
    jobs = api.ok(api.http.get("/v1/jobs", params={"limit": 100}))["items"]
    for job in jobs:
        paid = -sum(r["amount_ucredits"] for r in rows if r["job_id"] == job["id"])
        receipt = api.ok(api.http.get(f"/v1/jobs/{job['id']}/receipt"))
        assert paid == receipt["captured_ucredits"]
        assert receipt["held_ucredits"] == paid + receipt["released_ucredits"]
        assert job["dialect"] != "middleman" or paid % CREDIT == 0
