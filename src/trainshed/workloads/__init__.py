"""Kinds of work: one folder each with `spec`, `plan` and `run`.

**Invariant:** `spec` and `plan` need no ML framework; only `run`, which executes inside the job,
may import one.
**Boundary:** `spec` and `plan` import `domain` and `ports`; `run` sees only its own `spec` and
`trainshed_job`.
"""

from __future__ import annotations
