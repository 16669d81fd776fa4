"""Workload ``board``: a model on a microcontroller board, run and compared with the reference.

**Invariant:** every figure says where it comes from and how far it can be trusted.
**Boundary:** ``spec`` and ``plan`` import domain and ports; the rest runs inside the Job or in a
child and sees this folder, ``domain.board`` and third-party packages. See docs/design/boards.md.
"""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="board",
    target="trainshed.workloads.board.plan:BoardWorkload",
    summary="Benchmark a TensorFlow Lite model on a microcontroller board.",
    extra="boards",
)
