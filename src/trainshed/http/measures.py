"""What Prometheus reads: requests counted here, the rest asked of the engine and the doors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from trainshed.http.guards import Door
from trainshed.ports.deps import Deps
from trainshed.usecases.figures import Figure, engine_figures

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: A label's values come from the route table, never from a path that somebody asked for.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measures:
    """The registry of one app."""

    def __init__(self, deps: Deps, doors: Sequence[Door]) -> None:
        """Register what is counted and what is asked for at each scrape."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "trainshed_http_requests", "Requests answered", ("door", "method", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "trainshed_http_request_seconds", "Seconds until the answer begins", ("door",),
            buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._api = Counter(
            "api_requests", "Requests of an API that counts them by route",
            ("method", "endpoint", "status"), registry=self._registry,
        )  # fmt: skip
        self._api_seconds = Histogram(
            "api_request_duration_seconds", "Seconds until the answer begins, of the same",
            ("method", "endpoint"), buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip
        ProcessCollector(registry=self._registry)
        self._registry.register(_Asked(deps, doors))

    def count(
        self, door: Door | None, route: str, method: str, status: int, seconds: float
    ) -> None:
        """Note one answer; ``route`` is the path's template, never the path."""
        known = method if method in METHODS else "other"
        name = "none" if door is None else door.name
        self._requests.labels(name, known, str(status)).inc()
        self._seconds.labels(name).observe(seconds)
        if door is not None and door.counted:
            short = route.removeprefix(door.prefix) or "/"
            self._api.labels(known, short, str(status)).inc()
            self._api_seconds.labels(known, short).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Asked(Collector):
    """Figures that live in the store."""

    def __init__(self, deps: Deps, doors: Sequence[Door]) -> None:
        self._deps, self._doors = deps, doors

    def describe(self) -> list[Metric]:
        """Nothing is asked for while registering."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Ask the engine, then each door that has figures of its own."""
        for figure in engine_figures(self._deps):
            yield _family(figure)
        for door in self._doors:
            if door.figures is not None:
                for figure in door.figures(self._deps):
                    yield _family(figure)


def _family(figure: Figure) -> Metric:
    if figure.spreads is not None:
        spread = HistogramMetricFamily(figure.name, figure.help, labels=figure.labels)
        for labels, one in figure.spreads.items():
            buckets = [("+Inf" if math.isinf(le) else str(le), n) for le, n in one.buckets()]
            spread.add_metric(labels, buckets, one.total)
        return spread
    made = CounterMetricFamily if figure.counts_up else GaugeMetricFamily
    family = made(figure.name, figure.help, labels=figure.labels)
    for labels, value in figure.samples.items():
        family.add_metric(labels, value)
    return family
