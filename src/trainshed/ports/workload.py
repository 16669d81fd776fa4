"""A kind of work: checks parameters and says what to run. Planning is pure and light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trainshed.domain.job import JobSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What the runner will do: the command, and environment the workload adds (no secrets)."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Workload(Protocol):
    """Stateless."""

    name: str

    def plan(self, spec: JobSpec) -> Plan:
        """Check ``spec.params`` and return what to run.

        Raises:
            InvalidInput: naming the parameter.
        """
