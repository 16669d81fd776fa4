"""``GET /metrics``: true figures in the format Prometheus reads, for operators alone."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.support.deps import POOLS, World, make_deps

from trainshed.usecases.figures import engine_figures


def scrape(w: World) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample: (name, label values in the order of their names) -> value."""
    answer = w.client.get("/metrics", headers=w.admin.headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (s.name, tuple(s.labels[k] for k in sorted(s.labels))): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }


def test_only_an_operator_reads_them(w: World) -> None:
    assert w.client.get("/metrics").status_code == 401
    assert w.client.get("/metrics", headers=w.person("boss").headers).status_code == 403
    scraper = w.key(w.admin.principal, scopes=("read",)).secret
    assert w.client.get("/metrics", headers={"X-API-Key": scraper or ""}).status_code == 200


def test_jobs_and_attempts_are_what_the_store_holds(w: World) -> None:
    someone = w.person("someone")
    w.credits(someone)
    before = scrape(w)
    running, _ = w.submit(someone), w.submit(someone)
    w.lease(someone, running)
    after = scrape(w)
    grew = {k: after[k] - before.get(k, 0) for k in after if k[0].startswith("trainshed_")}
    assert grew["trainshed_jobs", ("QUEUED",)] == 2
    assert grew["trainshed_attempts_live", ("RUNNING",)] == 1
    assert grew["trainshed_events_total", ()] > 0
    assert after["trainshed_disk_free_bytes", ()] > 0


def test_requests_are_counted_by_door_and_never_by_path(w: World) -> None:
    before = scrape(w)
    for path in ("/v1/jobs", "/v1/jobs/job_none", "/v1/no-such-thing", "/../x", "/<script>"):
        w.client.get(path, headers=w.admin.headers)
    w.client.request("BREW", "/v1/jobs", headers=w.admin.headers)
    after = scrape(w)
    name = "trainshed_http_requests_total"
    grew = {k[1]: after[k] - before.get(k, 0) for k in after if k[0] == name}
    assert grew["native", "GET", "200"] == 1
    assert grew["native", "GET", "404"] == 2
    assert grew["native", "other", "405"] == 1
    assert {k[0] for k in grew} <= {"native", "front", "none"}
    assert after["trainshed_http_request_seconds_count", ("native",)] >= 4


def test_use_of_an_offer_is_derived_from_live_leases(w: World) -> None:
    someone = w.person("someone")
    w.credits(someone)
    w.lease(someone, w.submit(someone))
    found = scrape(w)
    key = ("process", "local", "local-cpu")
    assert found["trainshed_offer_cpus", key] == 2
    assert found["trainshed_offer_cpus_used", key] == 1
    assert found["trainshed_offer_memory_bytes_used", key] == 1024**3


def test_figures_without_any_job(tmp_path: Path) -> None:
    deps, _, _ = make_deps(tmp_path)
    try:
        by_name = {f.name: f for f in engine_figures(deps)}
        assert set(by_name["trainshed_jobs"].samples.values()) == {0.0}
        assert POOLS
    finally:
        deps.store.close()
