"""The native door, ``/v1``: what the dashboard, the ``trainshed`` command and the SDKs speak.

**Invariant:** unknown fields are refused, everything is bounded, answers hold schema fields only.
**Boundary:** as every dialect: `http`, `usecases`, `ports` and `domain` values.
"""

from __future__ import annotations

from trainshed.dialects.native.routes import door

__all__ = ["door"]
