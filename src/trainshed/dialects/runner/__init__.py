"""The machine door: what runners call. Raw endpoints, because every job passes here at least
thrice.

**Invariant:** every call carries the Attempt's runner token; what a stale one sends changes
nothing.
**Boundary:** speaks ``wire.v1``; knows use cases, never a wing.
"""

from __future__ import annotations
