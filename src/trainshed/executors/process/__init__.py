"""Runners on this machine: forked by one template process per data directory (D4).

**Invariant:** a handle is (pid, start_time, boot_id, workspace), so that another process is never
taken for a runner; ``stop`` answers True only when nothing of the Attempt's tree is left.
**Boundary:** starts `trainshed/runner/template.py` as a program; imports nothing of the runner.
"""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="process",
    target="trainshed.executors.process.executor:ProcessExecutor",
    summary="Runs jobs as processes of this machine.",
)
