"""Where runners start: one folder a substrate.

**Invariant:** an Executor has four methods (`offers launch poll stop`) and keeps no state that
`poll` cannot find again after a restart.
**Boundary:** imports `domain` and `ports`; executors do not know each other, and none calls a use
case.
"""

from __future__ import annotations
