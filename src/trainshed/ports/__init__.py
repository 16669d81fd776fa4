"""The doorframes: Protocols that the wings fill, and frozen views that the doors render.

**Invariant:** nothing here runs; a Protocol states threads, ownership, errors and units in prose.
**Boundary:** imports ``domain`` only.
"""

from __future__ import annotations
