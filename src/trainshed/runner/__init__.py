"""The supervisor beside the user's process: one Attempt, outside its sandbox.

**Invariant:** standard library only; every message carries the Attempt's token, and a stale
answer ends the process tree.
**Boundary:** imports `wire` only; it knows the server by its address.
"""

from __future__ import annotations
