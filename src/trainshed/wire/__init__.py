"""Messages between runner and server, versioned. Standard library only: they travel with the
runner.

**Invariant:** ``v1`` only ever grows optional fields; unknown fields are ignored by both sides.
**Boundary:** imports nothing of trainshed.
"""

from __future__ import annotations
