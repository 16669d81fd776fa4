"""The verbs: plain functions `(deps, command) -> view`, one family a file.

**Invariant:** no network, subprocess or slow work happens inside a transaction: load, process,
apply.
**Boundary:** imports `domain` and `ports`; sees no wing, no dialect and no framework.
"""

from __future__ import annotations
