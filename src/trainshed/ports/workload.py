"""A kind of work: checks parameters and says what to run. Planning is pure and light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trainshed.domain.job import JobSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What the runner will do.

    ``spec``: the spec as it is kept, command included, with all that the workload decides itself;
    what a user wrote there is kept where the workload leaves it. ``pool``: the pool whose price
    applies, None for the one of the resources. ``closed``: no code of the user's runs, so that it
    takes no variables. ``cache``: the name of a directory that all Jobs of the account with that
    name share, '' for none; only closed workloads may have one.
    """

    spec: JobSpec
    pool: str | None = None
    closed: bool = False
    cache: str = ""


class Workload(Protocol):
    """Stateless."""

    name: str

    def plan(self, spec: JobSpec) -> Plan:
        """Check ``spec.params`` and return what to run. The spec of a plan gives the same plan.

        Raises:
            InvalidInput: naming the parameter.
        """
