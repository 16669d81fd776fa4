"""The only room that speaks SQL.

**Invariant:** a write for an Attempt carries its fencing token, and every claim or lock is in one
named query file; an event is written in the transaction of what it tells.
**Boundary:** imports `domain` and `ports`; nobody but `bootstrap` imports it.
"""

from __future__ import annotations
