"""What this API adds to ``/metrics``, under the names that its dashboards know.

How jobs stand is read from the store at each scrape. What counts up follows
the event log and the deliveries by cursor, from this server's first scrape on. A label has at
most ``SERIES`` values; what comes later is counted as ``other``, so that sums stay true.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trainshed.dialects.orchestrator.translate import DIALECT, STATUS
from trainshed.domain.delivery import DeliveryState
from trainshed.domain.errors import NotFound
from trainshed.domain.events import Event
from trainshed.domain.schedule import Phase
from trainshed.ports.deps import Deps
from trainshed.ports.schedules import ScheduleFilter
from trainshed.ports.store import Tx
from trainshed.ports.views import ScheduleView
from trainshed.usecases import schedules
from trainshed.usecases.figures import Figure, Samples, Spread

SERIES = 500
OTHER = "other"
PAGE, PAGES = 1000, 20
#: A delivery is committed a little after its own time of arrival.
SETTLED = timedelta(seconds=5)
MAX_SETTLED = 20_000
DURATIONS = (60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)
ENDS = {"job.succeeded": "completed", "job.failed": "failed", "job.cancelled": "failed"}
SAVED, LOADED = "attempt.checkpoint", "job.resuming"
JOB = ("job_id", "job_name")


@dataclass(slots=True)
class _Names:
    """The values of one label that have a series of their own."""

    kept: set[str] = field(default_factory=set)

    def of(self, value: str | None) -> str:
        if value is None or (value not in self.kept and len(self.kept) >= SERIES):
            return OTHER
        self.kept.add(value)
        return value


class Figures:
    """The figures of one server."""

    def __init__(self) -> None:
        """Count from the first scrape on."""
        self._lock = threading.Lock()
        self._seq: int | None = None
        self._until: datetime | None = None
        self._names, self._ids = _Names(), _Names()
        self._durations: dict[tuple[str, ...], Spread] = {}
        self._saved: Counter[tuple[str, ...]] = Counter()
        self._loaded: Counter[tuple[str, ...]] = Counter()
        self._sent: Counter[tuple[str, ...]] = Counter()
        self._unsent: Counter[tuple[str, ...]] = Counter()

    def __call__(self, deps: Deps) -> Sequence[Figure]:
        """Return every figure as it is now. Any thread."""
        with self._lock:
            self._follow(deps)
            return [*_standing(deps), *self._counted()]

    def _follow(self, deps: Deps) -> None:
        """Count what has happened since the last look."""
        until = deps.clock.utc_now() - SETTLED
        if self._seq is None or self._until is None:
            self._seq, self._until = deps.store.read(lambda tx: tx.events.last_seq()), until
            return
        seq = self._seq
        for _ in range(PAGES):
            seq, more = deps.store.read(self._events(seq))
            self._seq = seq
            if not more:
                break
        since, self._until = self._until, until
        deps.store.read(lambda tx: self._deliveries(tx, since, until))

    def _events(self, after: int) -> Callable[[Tx], tuple[int, bool]]:
        def look(tx: Tx) -> tuple[int, bool]:
            page = tx.events.page(after, PAGE)
            for event in page:
                if event.kind in ENDS or event.kind in (SAVED, LOADED):
                    self._event(tx, event)
            return (page[-1].seq if page else after), len(page) == PAGE

        return look

    def _event(self, tx: Tx, event: Event) -> None:
        try:
            job = tx.jobs.get(event.job_id or "")
        except NotFound:  # deleted since
            return
        if job.dialect != DIALECT:
            return
        if event.kind == SAVED:
            self._saved[(self._job_id(tx, job.id),)] += 1
        elif event.kind == LOADED:
            self._loaded[(self._job_id(tx, job.id),)] += 1
        elif job.started_at is not None and job.ended_at is not None:
            key = (self._names.of(job.name), ENDS[event.kind])
            spread = self._durations.setdefault(key, Spread(DURATIONS))
            spread.add((job.ended_at - job.started_at).total_seconds())

    def _deliveries(self, tx: Tx, since: datetime, until: datetime) -> None:
        for channel, job_id, state in tx.deliveries.settled(since, until, MAX_SETTLED):
            if tx.schedules.schedule_of(job_id) is None:
                continue
            key = (channel, self._job_id(tx, job_id))
            into = self._sent if state is DeliveryState.DELIVERED else self._unsent
            into[key] += 1

    def _job_id(self, tx: Tx, job_id: str) -> str:
        """Return the label of the ``train-…`` id that a run belongs to."""
        found = tx.schedules.schedule_of(job_id)
        public = None if found is None else tx.records.public_id(DIALECT, "schedule", found)
        return self._ids.of(public)

    def _counted(self) -> list[Figure]:
        def figure(
            name: str, words: str, labels: tuple[str, ...], found: Counter[tuple[str, ...]]
        ) -> Figure:
            samples = {key: float(n) for key, n in found.items()}
            return Figure(name, words, labels, samples, counts_up=True)

        channel = ("channel", "job_id")
        return [
            Figure(
                "training_jobs_duration_seconds", "Seconds from a run's start to its end",
                ("job_name", "status"), spreads=dict(self._durations),
            ),
            figure("checkpoint_save_total", "Checkpoints committed", ("job_id",), self._saved),
            figure("checkpoint_load_total", "Runs that resumed", ("job_id",), self._loaded),
            figure("notification_sent_total", "Messages that arrived", channel, self._sent),
            figure(
                "notification_failures_total", "Messages given up after the last try", channel,
                self._unsent,
            ),
        ]  # fmt: skip


def _standing(deps: Deps) -> list[Figure]:
    """Return how the jobs stand, of all accounts: the newest by name, the rest as ``other``."""

    def load(
        tx: Tx,
    ) -> tuple[dict[Phase, int], dict[str, int], list[tuple[str, ScheduleView]]]:
        newest = tx.schedules.page(ScheduleFilter(None, DIALECT), None, 0, SERIES)
        jobs = tx.schedules.last_jobs(newest)
        seen = [schedules.view_of(one, jobs.get(one.id)) for one in newest]
        ids = [tx.records.public_id(DIALECT, "schedule", one.id) or OTHER for one in newest]
        counts = tx.schedules.counts(None, DIALECT)
        return counts, tx.schedules.created(DIALECT), list(zip(ids, seen, strict=True))

    counts, created, newest = deps.store.read(load)
    by = Counter({status: 0 for status in STATUS.values()})
    for phase, n in counts.items():
        by[STATUS[phase]] += n
    return [
        Figure(
            "training_jobs_total", "Jobs ever created", ("job_name",),
            _capped(created), counts_up=True,
        ),
        *(
            Figure(f"training_jobs_{one}", f"Jobs that are {one}", (), {(): float(by[one])})
            for one in ("pending", "running", "retrying")
        ),
        *(_by_name(one, by[one], newest) for one in ("completed", "failed")),
        _each("training_job_retry_count", "Retries of the newest run", newest, _retries),
        _each("training_job_started_timestamp", "When its newest run started, Unix time", newest,
              _started),
    ]  # fmt: skip


def _capped(found: dict[str, int]) -> Samples:
    most = sorted(found, key=lambda name: (-found[name], name))
    samples: Samples = {(name,): float(found[name]) for name in most[:SERIES]}
    rest = sum(found[name] for name in most[SERIES:])
    if rest:
        samples[OTHER,] = samples.get((OTHER,), 0.0) + rest
    return samples


def _by_name(status: str, n: int, newest: Sequence[tuple[str, ScheduleView]]) -> Figure:
    found = Counter(v.schedule.name for _, v in newest if STATUS[v.phase] == status)
    samples: Samples = {(name,): float(k) for name, k in found.items()}
    if rest := n - found.total():
        samples[OTHER,] = samples.get((OTHER,), 0.0) + rest
    return Figure(
        f"training_jobs_{status}", f"Jobs whose newest run {status}", ("job_name",), samples
    )


def _each(
    name: str,
    words: str,
    newest: Sequence[tuple[str, ScheduleView]],
    value: Callable[[ScheduleView], float | None],
) -> Figure:
    found = {(public_id, view.schedule.name): value(view) for public_id, view in newest}
    return Figure(name, words, JOB, {k: v for k, v in found.items() if v is not None})


def _retries(view: ScheduleView) -> float:
    return 0.0 if view.job is None else float(view.job.retries_used)


def _started(view: ScheduleView) -> float | None:
    at = None if view.job is None else view.job.started_at
    return None if at is None else at.timestamp()
