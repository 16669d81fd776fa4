"""Where base models are found: one folder a source.

**Invariant:** what a catalog answers names its source and revision; nothing is invented when a
source is away.
**Boundary:** imports `domain` and `ports`; catalogs do not know each other, and none calls a use
case.
"""

from __future__ import annotations
