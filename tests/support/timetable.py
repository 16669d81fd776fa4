"""An engine with an owner and short verbs, for tests of Schedules."""

from __future__ import annotations

from typing import Any

from tests.support.engine import principal_with_credits

from trainshed.domain.attempt import Ending, Start
from trainshed.domain.job import JobSpec
from trainshed.domain.schedule import Fire, Schedule
from trainshed.ports.store import JobFilter
from trainshed.testing.fakes import ManualClock
from trainshed.usecases import attempts, dispatch, firing, schedules
from trainshed.usecases.engine import Engine

SPEC = JobSpec(command=("true",), max_runtime_s=60)


class Shed:
    """An engine, an owner with credits, and short verbs."""

    def __init__(self, engine: Engine, clock: ManualClock, credits: int = 10**10) -> None:
        self.engine, self.deps, self.clock = engine, engine.deps, clock
        self.owner = principal_with_credits(engine, credits)

    def create(self, name: str = "one", cron: str = "* * * * *", **more: Any) -> Schedule:
        spec, env = more.pop("spec", SPEC), more.pop("env", {})
        wanted = schedules.NewSchedule(self.owner, name, cron, spec, env, **more)
        return schedules.create(self.deps, wanted).schedule

    def tick(self, seconds: float) -> int:
        self.clock.advance(seconds)
        return firing.fire_due(self.deps)

    def fires(self, one: Schedule) -> list[Fire]:
        return schedules.fires(self.deps, self.owner, one.id, None, 200)

    def look(self, one: Schedule) -> Any:
        return schedules.get(self.deps, self.owner, one.id)

    def finish(self, code: int = 0) -> None:
        for attempt in dispatch.lease(self.engine):
            self.deps.store.write(attempts.beginning(self.engine, attempt.id))
            self.deps.store.write(attempts.started(self.engine, attempt.id, Start("none")))
            attempts.finish(self.engine, attempt.id, Ending("exited", exit_code=code))

    def jobs(self) -> list[Any]:
        return self.deps.store.read(
            lambda tx: tx.jobs.page(JobFilter(self.owner.account_id), None, 5000)
        )
