"""Front doors: one API vocabulary a folder.

**Invariant:** `translate` is pure in both directions, and states and errors are mapped by tables.
**Boundary:** imports `http`, `usecases`, `ports` and `domain` values; never a wing, SQL or
another dialect.
"""

from __future__ import annotations
