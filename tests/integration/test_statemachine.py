"""A hypothesis state machine over the use cases, against a pure model of what users were promised.

Submit, place, start, finish, cancel, pause, resume, preempt, drain, lose, restart, clock jumps,
repeated and late messages, in any order: after each step the model agrees and every invariant of
the store holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.support.engine import make_engine, principal_with_credits

from trainshed.domain.attempt import Ending, Start
from trainshed.domain.errors import IllegalTransition, PaymentRequired, StaleLease
from trainshed.domain.job import JobSpec
from trainshed.domain.resources import Resources
from trainshed.domain.retry import RetryPolicy
from trainshed.ports.deps import Policy
from trainshed.usecases import attempts, control, dispatch, drains, heartbeats, queries, reap
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases
from trainshed.usecases.submit import SubmitJob, submit

CREDITS = 40_000_000
POLICY = Policy(min_free_bytes=0, preempt_min_run_s=5)
SOAK = os.environ.get("TRAINSHED_SOAK") == "1"


@dataclass
class Model:
    """What a user may rely on, in the simplest words."""

    intent: str = "run"
    live: str | None = None
    outcome: str | None = None
    attempts: list[str] = field(default_factory=list)
    retries_left: int = 0
    priority: int = 0

    @property
    def state(self) -> str:
        if self.outcome:
            return self.outcome
        if self.live:
            if self.intent == "cancel":
                return "CANCELLING"
            return "RUNNING" if self.live == "RUNNING" else "QUEUED"
        return "PAUSED" if self.intent == "pause" else "QUEUED"


class Platform(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    #: Gives the URL of an empty database, or None for SQLite.
    fresh: Callable[[], str | None] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        home = Path(self.folder.name)
        self.engine, self.clock, self.executor = make_engine(home, self.fresh(), POLICY)
        self.who = replace(principal_with_credits(self.engine, CREDITS), operator=True)
        self.drained = False
        self.model: dict[str, Model] = {}

    def teardown(self) -> None:
        self.engine.deps.store.close()
        self.folder.cleanup()

    def live_attempt(self, job: str) -> str | None:
        found = self.engine.deps.store.read(lambda tx: tx.attempts.live_of(job))
        return found.id if found else None

    @rule(
        target=jobs,
        cpus=st.sampled_from([500, 1000, 2000]),
        retries=st.integers(0, 2),
        priority=st.sampled_from([0, 0, 3, 5]),
    )
    def submit_job(self, cpus: int, retries: int, priority: int) -> object:
        spec = JobSpec(
            command=("true",), resources=Resources(cpus), max_runtime_s=3600 * 4,
            retry=RetryPolicy(retries, 5.0), priority=priority,
        )  # fmt: skip
        before = queries_balance(self.engine, self.who.account_id)
        need = 4 * cpus * 1000
        try:
            view = submit(self.engine.deps, SubmitJob(self.who, "job", spec, {}))
        except PaymentRequired:
            assert before < need
            return multiple()
        assert before >= need
        self.model[view.job.id] = Model(retries_left=retries, priority=priority)
        return view.job.id

    @rule()
    def place(self) -> None:
        before = self.orders()
        now = self.clock.utc_now()
        leased = dispatch.lease(self.engine)
        for job, (order, leased_at) in self.orders().items():
            if order == "preempt" and before[job][0] != order:
                waiting = [m for m in self.model.values() if m.state == "QUEUED" and not m.live]
                assert any(m.priority > self.model[job].priority for m in waiting)
                assert (now - leased_at).total_seconds() >= POLICY.preempt_min_run_s
            assert not self.drained or order is not None
        assert not (self.drained and leased)
        for attempt in leased:
            model = self.model[attempt.job_id]
            assert model.intent == "run"
            assert model.outcome is None
            assert model.live is None
            model.live = "LEASED"
            model.attempts.append(attempt.id)
            dispatch.launch(self.engine, attempt)

    def orders(self) -> dict[str, tuple[str | None, datetime]]:
        """What each running Attempt was told last, and since when it has its lease."""
        found = self.engine.deps.store.read(lambda tx: tx.attempts.live())
        return {a.job_id: (a.order, a.leased_at) for a in found}

    @rule(target=jobs)
    def a_higher_priority_comes(self) -> object:
        """What chance seldom brings about: the machine is full and busy, and someone must go."""
        self.place()
        for job, model in self.model.items():
            if model.live:
                self.start(job)
        self.clock.advance(60.0)
        made = self.submit_job(2000, 0, 9)
        self.place()
        return made

    @rule(ms=st.integers(0, 10**6))
    def all_told_leave(self, ms: int) -> None:
        for job in self.model:
            self.leave(job, ms)

    def leave(self, job: str, ms: int) -> None:
        """The runner obeys an eviction."""
        attempt, model = self.live_attempt(job), self.model[job]
        if attempt is None or model.live != "RUNNING":
            return
        order = heartbeats.heartbeat(self.engine, attempt)
        if order not in ("preempt", "drain"):
            return
        ending = Ending("signalled", signal=15, stopped_by=order, runtime_ms=ms)
        done = attempts.finish(self.engine, attempt, ending)
        model.live = None
        assert model.intent == "run"
        self.settle_infrastructure(model)
        assert done.outcome is None or len(model.attempts) >= 10
        tried = queries.attempts(self.engine.deps, self.who, job)[-1]
        assert str(tried.state) == "EVICTED"
        assert tried.billable_ms <= tried.checkpoint_ms

    @rule(drained=st.booleans())
    def drain(self, drained: bool) -> None:
        change = drains.drain if drained else drains.undrain
        change(self.engine.deps, self.who, "local")
        self.drained = drained

    @rule(job=jobs)
    def start(self, job: str) -> None:
        attempt = self.live_attempt(job)
        if attempt is None:
            return
        work = self.engine.deps.store.write(attempts.beginning(self.engine, attempt))
        assert work.job.id == job
        self.engine.deps.store.write(attempts.started(self.engine, attempt, Start("none")))
        self.model[job].live = "RUNNING"

    @rule(job=jobs, code=st.sampled_from([0, 1]), repeat=st.booleans(), ms=st.integers(0, 10**7))
    def finish(self, job: str, code: int, repeat: bool, ms: int) -> None:
        attempt = self.live_attempt(job)
        model = self.model[job]
        if attempt is None or model.live != "RUNNING":
            return
        stopped = "pause" if model.intent == "pause" else None
        ending = Ending("exited", code, stopped_by=stopped, runtime_ms=ms)
        attempts.finish(self.engine, attempt, ending)
        if repeat:
            attempts.finish(self.engine, attempt, Ending("exited", 1 - code, runtime_ms=10**9))
        model.live = None
        if model.intent == "cancel":
            model.outcome = "CANCELLED"
        elif stopped:
            pass
        elif code == 0:
            model.outcome = "SUCCEEDED"
        elif model.retries_left:
            model.retries_left -= 1
        else:
            model.outcome = "FAILED"

    @rule(job=jobs)
    def late_finish_of_an_old_attempt(self, job: str) -> None:
        model = self.model[job]
        for old in model.attempts[: None if model.live is None else -1]:
            attempts.finish(self.engine, old, Ending("exited", 0, runtime_ms=10**9))
            try:
                self.engine.deps.store.write(attempts.started(self.engine, old, Start("none")))
                raise AssertionError("an ended attempt was started again")
            except StaleLease:
                pass

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        model = self.model[job]
        try:
            control.cancel(self.engine.deps, self.who, job)
            assert model.outcome is None
        except IllegalTransition:
            assert model.outcome is not None
            return
        model.intent = "cancel"
        if model.live is None:
            model.outcome = "CANCELLED"

    @rule(job=jobs)
    def pause(self, job: str) -> None:
        model = self.model[job]
        try:
            control.pause(self.engine.deps, self.who, job)
            assert model.outcome is None
            assert model.intent != "cancel"
        except IllegalTransition:
            assert model.outcome is not None or model.intent == "cancel"
            return
        model.intent = "pause"

    @rule(job=jobs)
    def resume(self, job: str) -> None:
        model = self.model[job]
        try:
            control.resume(self.engine.deps, self.who, job)
        except IllegalTransition:
            assert model.outcome or model.intent != "pause" or model.live
            return
        except PaymentRequired:
            return
        assert model.intent == "pause"
        model.intent = "run"

    @rule(seconds=st.sampled_from([0.5, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, 3600.0]))
    def wall_clock_jumps(self, seconds: float) -> None:
        before = len(self.engine.leases)
        self.clock.jump(seconds)
        reap_nothing_by_jump = self.engine.leases.expired(self.clock.monotonic())
        assert len(self.engine.leases) == before
        assert set(reap_nothing_by_jump) <= {a for m in self.model.values() for a in m.attempts}

    @rule()
    def look(self) -> None:
        gone = set(self.engine.leases.expired(self.clock.monotonic()))
        reap.look(self.engine)
        for model in self.model.values():
            if model.live and model.attempts[-1] in gone:
                model.live = None
                if model.intent == "cancel":
                    model.outcome = "CANCELLED"
                elif len(model.attempts) >= 10:
                    self.settle_infrastructure(model)

    def settle_infrastructure(self, model: Model) -> None:
        job = next(j for j, m in self.model.items() if m is model)
        stored = self.engine.deps.store.read(lambda tx: tx.jobs.get(job))
        if stored.outcome is not None:
            assert str(stored.reason) == "infrastructure"
            model.outcome = str(stored.outcome)

    @rule()
    def restart(self) -> None:
        self.engine = Engine(self.engine.deps, Leases(self.engine.deps.policy.lease))
        live = sum(m.live is not None for m in self.model.values())
        assert len(reap.take_over(self.engine)) == live
        assert len(self.engine.leases) == live

    @invariant()
    def model_agrees(self) -> None:
        for job, model in self.model.items():
            view = queries.get_job(self.engine.deps, self.who, job)
            assert str(view.job.state) == model.state, (view.job, model)

    @invariant()
    def store_is_sound(self) -> None:
        assert self.engine.deps.store.verify() == []


def queries_balance(engine: Engine, account_id: str) -> int:
    from trainshed.domain.ledger import Unit

    return engine.deps.store.read(lambda tx: tx.ledger.balance(account_id, Unit.CREDIT)).available


def bounded(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def test_on_sqlite() -> None:
    run_state_machine_as_test(Platform, settings=bounded(2000 if SOAK else 40, 30))


def test_on_postgresql(pg_server: Callable[[], str]) -> None:
    class OnPostgres(Platform):
        fresh = staticmethod(pg_server)

    run_state_machine_as_test(OnPostgres, settings=bounded(200 if SOAK else 6, 25))
