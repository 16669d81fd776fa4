"""One engine, an owner, and what its runners would report: for tests of the scheduler."""

from __future__ import annotations

from trainshed.domain.artifact import Artifact, ArtifactKind, FileRef
from trainshed.domain.attempt import Attempt, Ending, Start
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.people import Principal
from trainshed.domain.resources import Resources
from trainshed.ports.views import JobView
from trainshed.testing.fakes import ManualClock
from trainshed.usecases import attempts, dispatch, heartbeats, queries
from trainshed.usecases.engine import Engine
from trainshed.usecases.submit import SubmitJob, submit

CREDITS = 10**15


class Shed:
    """One engine, its operator, and what happens to its Attempts."""

    def __init__(self, engine: Engine, clock: ManualClock, who: Principal) -> None:
        self.engine, self.clock, self.who = engine, clock, who

    def submit(self, cpus: int = 1000, priority: int = 0, **spec: object) -> str:
        want = spec.pop("resources", Resources(cpus))
        made = JobSpec(command=("x",), resources=want, priority=priority, **spec)  # type: ignore[arg-type]
        return submit(self.engine.deps, SubmitJob(self.who, "job", made, {})).job.id

    def round(self) -> list[str]:
        leased = dispatch.lease(self.engine)
        for one in leased:
            dispatch.launch(self.engine, one)
        return [one.job_id for one in leased]

    def start(self, job_id: str) -> Attempt:
        one = self.live(job_id)
        assert one is not None
        store = self.engine.deps.store
        store.write(attempts.beginning(self.engine, one.id))
        store.write(attempts.started(self.engine, one.id, Start("none")))
        return self.view(job_id).attempts[-1]

    def live(self, job_id: str) -> Attempt | None:
        return self.engine.deps.store.read(lambda tx: tx.attempts.live_of(job_id))

    def view(self, job_id: str) -> JobView:
        return queries.get_job(self.engine.deps, self.who, job_id)

    def leave(self, job_id: str, ran_s: float) -> Job:
        """The runner obeys the order it found."""
        one = self.live(job_id)
        assert one is not None
        order = heartbeats.heartbeat(self.engine, one.id)
        ending = Ending("exited", 0, stopped_by=order, runtime_ms=round(ran_s * 1000))
        return attempts.finish(self.engine, one.id, ending)

    def save(self, job_id: str, ran_s: float) -> Artifact:
        one = self.live(job_id)
        assert one is not None
        writer = self.engine.deps.blobs.writer(self.who.account_id)
        writer.write(b"step %d" % ran_s)
        draft = Artifact(
            self.engine.deps.ids.new("artifact"), "", "", "", ArtifactKind.CHECKPOINT, "",
            (FileRef("model", writer.commit()),), self.clock.utc_now(), 7,
        )  # fmt: skip
        return attempts.collect(self.engine, one.id, draft, round(ran_s * 1000))

    def kinds(self, job_id: str) -> list[str]:
        found = queries.events(self.engine.deps, self.who, 0, 200, job_id)
        return [e.kind for e in found if e.kind.startswith("job.")]
