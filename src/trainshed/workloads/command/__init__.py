"""Workload ``command``: run the command the user gives.

**Invariant:** the command is an argument vector from submit to exec; no shell ever sees it.
**Boundary:** imports domain and ports; ``plan`` is pure.
"""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="command",
    target="trainshed.workloads.command.plan:CommandWorkload",
    summary="Run a command in a fresh workspace.",
)
