"""Old results go by age, in small steps, and what must stay stays; deleting removes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.engine import make_engine, principal_with_credits

from trainshed.domain.artifact import Artifact, ArtifactKind, FileRef
from trainshed.domain.attempt import Ending, Start
from trainshed.domain.errors import NotFound
from trainshed.domain.job import InputRef, JobSpec
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps, Policy
from trainshed.ports.streams import Point
from trainshed.testing.fakes import ManualClock
from trainshed.usecases import (
    attempts,
    control,
    dispatch,
    housekeeping,
    logs,
    metrics,
    queries,
    retention,
)
from trainshed.usecases.engine import Engine
from trainshed.usecases.submit import SubmitJob, submit

DAY = 86_400


class Shed:
    """An engine that keeps results for ten days."""

    def __init__(self, folder: Path, url: str) -> None:
        policy = Policy(min_free_bytes=0, retention_s=10 * DAY)
        self.engine: Engine
        self.clock: ManualClock
        self.engine, self.clock, _ = make_engine(folder, url, policy)
        self.deps: Deps = self.engine.deps
        self.who: Principal = principal_with_credits(self.engine, 10**12)

    def run(self, *kinds: ArtifactKind) -> str:
        """Run a Job that says, measures and leaves something; return its id."""
        deps = self.deps
        job = submit(deps, SubmitJob(self.who, "job", JobSpec(command=("true",)), {})).job
        (attempt,) = dispatch.lease(self.engine)
        deps.store.write(attempts.beginning(self.engine, attempt.id))
        deps.store.write(attempts.started(self.engine, attempt.id, Start("none")))
        deps.store.write(logs.appending(self.engine, attempt.id, "stdout", 0, b"one\ntwo\n"))
        logs.seal(deps, self.who.account_id, attempt.id, "stdout", 4)
        points = [Point("loss", 0, 1, 0.5)]
        deps.store.write(metrics.appending(self.engine, attempt.id, 0, points))
        for kind in kinds:
            writer = deps.blobs.writer(self.who.account_id)
            writer.write(f"{kind} of {job.id}".encode())
            files = (FileRef("f", writer.commit()),)
            now = self.clock.utc_now()
            draft = Artifact(deps.ids.new("artifact"), "", "", "", kind, "", files, now)
            attempts.collect(self.engine, attempt.id, draft, 1)
        attempts.finish(self.engine, attempt.id, Ending("exited", 0, runtime_ms=1000))
        return job.id

    def artifacts(self, job_id: str) -> list[Artifact]:
        return self.deps.store.read(lambda tx: tx.files.artifacts(job_id))

    def log(self, job_id: str) -> bytes:
        return logs.read_log(self.deps, self.who, job_id, "stdout", None, 0, 100).data

    def expire(self) -> int:
        """Run one whole pass; return the number of steps."""
        steps, after = 0, None
        while True:
            after = retention.expire(self.deps, after)
            if after is None:
                return steps
            steps += 1

    def expired(self, job_id: str) -> int:
        found = queries.events(self.deps, self.who, 0, 1000, job_id)
        return [e.kind for e in found].count("job.expired")


@pytest.fixture
def shed(url: str, tmp_path: Path) -> Iterator[Shed]:
    made = Shed(tmp_path, url)
    yield made
    assert made.deps.store.verify() == []
    made.deps.store.close()


def test_what_is_old_goes_and_what_was_paid_stays(shed: Shed) -> None:
    old = shed.run(ArtifactKind.ARTIFACT)
    shed.clock.advance(8 * DAY)
    young = shed.run(ArtifactKind.ARTIFACT)
    assert shed.expire() == 0
    before = queries.receipt(shed.deps, shed.who, old)
    shed.clock.advance(3 * DAY)
    assert shed.expire() == 1
    assert (shed.log(old), shed.artifacts(old)) == (b"", [])
    assert metrics.keys(shed.deps, shed.who, old) == []
    assert queries.receipt(shed.deps, shed.who, old) == before
    assert (shed.log(young), len(shed.artifacts(young))) == (b"one\ntwo\n", 1)
    assert (shed.expired(old), shed.expired(young)) == (1, 0)
    assert shed.expire() == 0, "nothing is left to do"
    swept = housekeeping.collect_garbage(shed.deps, grace=timedelta(days=-3650))
    assert swept.blobs == 2, "the old file and its listing; the young job has a log like the old"


def test_steps_are_small_and_reach_everything(shed: Shed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    jobs = [shed.run(ArtifactKind.ARTIFACT) for _ in range(5)]
    shed.clock.advance(11 * DAY)
    assert shed.expire() == 3
    assert not any(shed.artifacts(j) or shed.log(j) for j in jobs)


def test_what_others_need_and_what_is_pinned_stays(shed: Shed) -> None:
    source, retried = shed.run(ArtifactKind.ARTIFACT), shed.run(ArtifactKind.CHECKPOINT)
    pinned = shed.run(ArtifactKind.CHECKPOINT)
    (kept,) = shed.artifacts(pinned)
    shed.deps.store.write(lambda tx: tx.files.save_artifact(replace(kept, pinned=True)))
    (used,) = shed.artifacts(source)
    spec = JobSpec(command=("true",), inputs=(InputRef("artifact", used.id, "in"),))
    user = submit(shed.deps, SubmitJob(shed.who, "user", spec, {})).job
    again = control.retry(shed.deps, shed.who, retried).job
    shed.clock.advance(11 * DAY)
    assert shed.expire() == 1
    for job_id in (source, retried, pinned):
        assert len(shed.artifacts(job_id)) == 1
        assert shed.log(job_id) == b""
    for job in (user, again):
        control.cancel(shed.deps, shed.who, job.id)
    assert shed.expire() == 1
    assert [len(shed.artifacts(j)) for j in (source, retried, pinned)] == [0, 0, 1]
    assert shed.expire() == 0


def test_without_the_setting_all_is_kept(shed: Shed) -> None:
    job_id = shed.run(ArtifactKind.ARTIFACT)
    shed.clock.advance(10_000 * DAY)
    deps = replace(shed.deps, policy=replace(shed.deps.policy, retention_s=0))
    assert retention.expire(deps, None) is None
    assert len(shed.artifacts(job_id)) == 1


def test_deleting_removes_logs_and_metrics_at_once(shed: Shed) -> None:
    job_id = shed.run(ArtifactKind.ARTIFACT)
    (attempt,) = shed.deps.store.read(lambda tx: tx.attempts.of_job(job_id))
    control.delete(shed.deps, shed.who, job_id)
    assert shed.deps.store.read(lambda tx: tx.streams.info(attempt.id)) == []
    account = shed.who.account_id
    assert shed.deps.store.read(lambda tx: tx.files.used_bytes(account)) == 0
    with pytest.raises(NotFound):
        shed.log(job_id)
