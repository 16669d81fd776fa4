"""Metrics of a Job over all its Attempts: what was measured, nothing invented (D13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.streams import Bucket, Point
from trainshed.ports.views import Progress, SeriesView
from trainshed.usecases.attempts import live
from trainshed.usecases.engine import Engine
from trainshed.usecases.queries import owned

MAX_POINTS = 10_000
METRICS = "metrics"


def appending(
    engine: Engine, attempt_id: str, offset: int, points: Sequence[Point]
) -> Callable[[Tx], tuple[int, bool]]:
    """Return the transaction that appends a runner's points: (next ordinal, limit reached)."""
    limit = engine.deps.policy.metric_points_limit

    def apply(tx: Tx) -> tuple[int, bool]:
        live(tx, attempt_id)
        if offset >= limit:
            tx.streams.truncate(attempt_id, METRICS)
            return limit, True
        room = _known_keys(engine, tx, attempt_id, points[: limit - offset])
        return tx.streams.append_points(attempt_id, offset, room), False

    return apply


def _known_keys(
    engine: Engine, tx: Tx, attempt_id: str, points: Sequence[Point]
) -> Sequence[Point]:
    """Fold keys beyond the limit into ``_other``, so that a runaway key name cannot fill the
    store.
    """
    limit = engine.deps.policy.metric_keys_limit
    names = {p.key for p in points}
    if len(names) <= limit:
        seen = tx.streams.latest([attempt_id]).get(attempt_id, {}) if len(names) > 8 else {}
        if len(names | set(seen)) <= limit:
            return points
    known = set(tx.streams.latest([attempt_id]).get(attempt_id, {}))
    allowed = known | set(sorted(names - known)[: max(0, limit - len(known))])
    return [p if p.key in allowed else Point("_other", p.step, p.at_ms, p.value) for p in points]


def keys(deps: Deps, principal: Principal, job_id: str) -> list[tuple[str, int, Point]]:
    """Return (key, number of points over all Attempts, latest point), by key."""

    def load(tx: Tx) -> list[tuple[str, int, Point]]:
        tried = _tried(tx, principal, job_id)
        merged: dict[str, Point] = {}
        latest = tx.streams.latest([a.id for a in tried])
        for one in tried:
            merged.update(latest.get(one.id, {}))
        return [
            (key, sum(tx.streams.n_points(a.id, key) for a in tried), merged[key])
            for key in sorted(merged)
        ]

    return deps.store.read(load)


def progress(latest: Mapping[str, Point]) -> Progress | None:
    """Return how far a Job is, from its newest points (``JobView.latest``); nothing is invented."""
    if not latest:
        return None

    def number(*names: str) -> float | None:
        found = [latest[n].value for n in names if n in latest]
        return next((v for v in found if math.isfinite(v)), None)

    return Progress(
        epoch=number("epoch"),
        epoch_total=number("epoch_total", "epochs_total", "total_epochs", "epochs"),
        step=max(p.step for p in latest.values()),
        loss=number("loss", "train_loss", "train/loss"),
    )


def series(
    deps: Deps,
    principal: Principal,
    job_id: str,
    key: str,
    max_points: int,
    first_step: int | None,
    last_step: int | None,
) -> SeriesView:
    """Return one metric, as it is or in at most ``max_points`` min/max buckets.

    Raises:
        NotFound: no such Job, or it never logged that key. InvalidInput: max_points out of range.
    """
    if not 1 <= max_points <= MAX_POINTS:
        raise InvalidInput(f"max_points must be 1 to {MAX_POINTS}.", field="max_points")

    def load(tx: Tx) -> list[Point]:
        tried = _tried(tx, principal, job_id)
        known = tx.streams.latest([a.id for a in tried])
        if not any(key in of for of in known.values()):
            raise NotFound(f"The job has logged no metric {key!r}.")
        return _series(tx, tried, key, first_step, last_step)

    points = deps.store.read(load)
    if len(points) <= max_points:
        return SeriesView(key, points=tuple(points))
    return SeriesView(key, buckets=tuple(buckets(points, max_points)))


def buckets(points: Sequence[Point], n: int) -> list[Bucket]:
    """Return ``n`` stretches of equal count; NaN and infinities are counted, never averaged
    away.
    """
    out = []
    for i in range(n):
        part = points[i * len(points) // n : (i + 1) * len(points) // n]
        finite = [p.value for p in part if math.isfinite(p.value)] or [math.nan]
        out.append(
            Bucket(
                step=part[0].step,
                at_ms=part[0].at_ms,
                minimum=min(finite),
                maximum=max(finite),
                last=part[-1].value,
                n=len(part),
                n_nan=sum(math.isnan(p.value) for p in part),
                n_inf=sum(math.isinf(p.value) for p in part),
            )
        )
    return out


def new_points(
    deps: Deps, principal: Principal, job_id: str, after: int
) -> tuple[list[Point], int]:
    """Return points logged since ordinal ``after`` over all Attempts, and the ordinal to go on
    from.

    The ordinal counts points in the order of (Attempt, key, logging), so it only suits a follower
    that reads the newest Attempt: it restarts at 0 when a new Attempt begins.
    """

    def load(tx: Tx) -> tuple[list[Point], int]:
        tried = _tried(tx, principal, job_id)
        if not tried:
            return [], 0
        return tx.streams.points_after(tried[-1].id, after, MAX_POINTS)

    return deps.store.read(load)


def _tried(tx: Tx, principal: Principal, job_id: str) -> list[Attempt]:
    owned(tx, principal, job_id)
    return tx.attempts.of_job(job_id)


def _series(
    tx: Tx, tried: Sequence[Attempt], key: str, first: int | None, last: int | None
) -> list[Point]:
    """Join the Attempts: what a successor repeats from its resume step on is shown once."""
    out: list[Point] = []
    for number, one in enumerate(tried):
        points = tx.streams.series(one.id, key, first, last)
        if number and one.started_at is not None:
            out = _before(out, one, points)
        out.extend(points)
    return out


def _before(out: list[Point], one: Attempt, points: Sequence[Point]) -> list[Point]:
    """Return the earlier points that stay visible beside those of the Attempt ``one``.

    It repeats what comes after its resume step; where the checkpoint tells no step, what comes
    from its own first point on. One that began anew repeats everything.
    """
    if one.resumed_from is None:
        return []
    if one.resumed_step is not None:
        return [p for p in out if p.step <= one.resumed_step]
    first = min((p.step for p in points), default=None)
    return out if first is None else [p for p in out if p.step < first]
