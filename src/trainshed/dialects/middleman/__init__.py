"""The Middleman door: what the clients of the Middleman training platform speak.

**Invariant:** its closed words (states, GPU types, frameworks) are the only ones it says, and all
money is whole credits that add up.
**Boundary:** as every dialect: `http`, `usecases`, `ports` and `domain` values.
"""

from __future__ import annotations

from trainshed.dialects.middleman.routes import door

__all__ = ["door"]
