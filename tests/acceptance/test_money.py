"""64 submits at once with credits for 10 give exactly 10, over HTTP, with invariants kept (G10)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.server import Api, doctor, running


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
