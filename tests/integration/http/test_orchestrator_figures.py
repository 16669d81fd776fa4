"""The Orchestrator's figures in ``/metrics``: true after real changes, bounded, operators only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.integration.http.test_measures import scrape
from tests.integration.http.test_orchestrator import DOORS, JOB, OPEN, here, make
from tests.support.deps import World, world

from trainshed.dialects.orchestrator import figures
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.domain.delivery import Delivery, DeliveryState
from trainshed.domain.events import Event
from trainshed.domain.states import JobState
from trainshed.ports.store import JobFilter
from trainshed.usecases import local


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    doors = [DOORS[0], orchestrator_door(60.0)]  # counts from this test's first scrape on
    with world(tmp_path, settings=OPEN, doors=doors) as one:
        local.first_grant(one.deps)
        yield one


@pytest.fixture
def http(w: World) -> TestClient:
    return here(w)


def end(w: World, ran_s: float, failed: bool = False) -> str:
    """Let the newest run of all end after ``ran_s`` seconds; return its id."""
    now = w.clock.utc_now()

    def apply(tx) -> str:  # type: ignore[no-untyped-def]
        (job,) = tx.jobs.page(JobFilter(states=("QUEUED",)), None, 1)
        outcome = JobState.FAILED if failed else JobState.SUCCEEDED
        done = replace(
            job, state=outcome, outcome=outcome, retries_used=2 if failed else 0,
            started_at=now - timedelta(seconds=ran_s), ended_at=now,
        )  # fmt: skip
        tx.jobs.save(done)
        tx.events.append(Event(f"job.{outcome.lower()}", job.account_id, now, job.id))
        tx.events.append(Event("attempt.checkpoint", job.account_id, now, job.id))
        return str(job.id)

    return str(w.deps.store.write(apply))


def test_jobs_as_they_stand(w: World, http: TestClient) -> None:
    first, second = make(http, name="first"), make(http, name="second")
    found = scrape(w)
    assert found["training_jobs_total", ("first",)] == 1
    assert found["training_jobs_pending", ()] == 2
    assert ("training_job_started_timestamp", (first, "first")) not in found
    http.post(f"/jobs/{first}/run-now", json={})
    end(w, 90, failed=True)
    http.post(f"/jobs/{second}/run-now", json={})
    end(w, 10)
    found = scrape(w)
    assert found["training_jobs_failed", ("first",)] == 1
    assert found["training_jobs_completed", ("second",)] == 1
    assert found["training_jobs_pending", ()] == 0
    assert found["training_job_retry_count", (first, "first")] == 2
    assert found["training_job_started_timestamp", (first, "first")] > 1.6e9
    assert found["trainshed_schedules_failing", ()] == 1
    for job, name in ((first, "first"), (second, "second")):
        assert http.delete(f"/jobs/{job}").status_code == 204
        assert scrape(w)["training_jobs_total", (name,)] == 1
    assert "training_jobs_failed" not in {key[0] for key in scrape(w)}


def test_ends_and_checkpoints_are_counted_once(w: World, http: TestClient) -> None:
    job = make(http, name="first")
    scrape(w)
    for ran_s in (30, 90):
        http.post(f"/jobs/{job}/run-now", json={})
        end(w, ran_s)
    for _ in range(2):
        found = scrape(w)
        assert found["checkpoint_save_total", (job,)] == 2
        name = "training_jobs_duration_seconds"
        assert found[f"{name}_count", ("first", "completed")] == 2
        assert found[f"{name}_sum", ("first", "completed")] == pytest.approx(120)
        assert found[f"{name}_bucket", ("first", "60.0", "completed")] == 1
        assert found[f"{name}_bucket", ("first", "+Inf", "completed")] == 2


def test_messages_that_arrived_and_those_given_up(w: World, http: TestClient) -> None:
    job = make(http, name="first")
    http.post(f"/jobs/{job}/run-now", json={})
    run, channel = end(w, 1), w.channel(w.admin)
    scrape(w)
    now = w.clock.utc_now()
    account = w.admin.principal.account_id
    states = (DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.PENDING)
    made = [
        Delivery(f"dlv_{n}", channel, account, "job.failed", n, run, now, "{}", now, state,
                 done_at=None if state is DeliveryState.PENDING else now)
        for n, state in enumerate(states)
    ]  # fmt: skip
    w.deps.store.write(lambda tx: tx.deliveries.add(made))
    w.clock.advance(60)
    for _ in range(2):
        found = scrape(w)
        assert found["notification_sent_total", ("email", job)] == 1
        assert found["notification_failures_total", ("email", job)] == 1
    assert {s.value: found["trainshed_deliveries", ("email", s.value)] for s in states} == {
        "delivered": 1, "dead": 1, "pending": 1
    }  # fmt: skip
    assert found["trainshed_delivery_oldest_pending_seconds", ("email",)] >= 60
    assert found["trainshed_deliveries", ("slack", "dead")] == 0


def test_labels_are_bounded_and_sums_stay_true(
    w: World, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "SERIES", 3)
    scrape(w)
    for n in range(8):
        job = make(http, name=f"job {n}")
        http.post(f"/jobs/{job}/run-now", json={})
        end(w, 1)
    found = scrape(w)
    for name in ("training_jobs_total", "training_jobs_completed", "checkpoint_save_total",
                 "training_jobs_duration_seconds_count"):  # fmt: skip
        mine = {key: n for key, n in found.items() if key[0] == name}
        assert len(mine) == 4, name
        assert sum(mine.values()) == 8, name
    assert len([key for key in found if key[0] == "training_job_retry_count"]) == 3


def test_requests_are_counted_by_route_also_at_an_alias(w: World, http: TestClient) -> None:
    before = scrape(w)
    for path in ("/jobs/train-00000000", "/orchestrator/jobs/train-00000001", "/jobs"):
        http.get(path)
    http.post("/jobs", json=JOB)
    w.client.get("/v1/jobs", headers=w.admin.headers)
    after = scrape(w)
    grew = {
        key[1]: n - before.get(key, 0) for key, n in after.items() if key[0] == "api_requests_total"
    }
    assert grew == {
        ("/jobs/{job_id}", "GET", "404"): 2,
        ("/jobs", "GET", "200"): 1,
        ("/jobs", "POST", "201"): 1,
    }
    assert after["api_request_duration_seconds_count", ("/jobs/{job_id}", "GET")] == 2
    assert after["trainshed_http_requests_total", ("orchestrator", "GET", "404")] == 2
