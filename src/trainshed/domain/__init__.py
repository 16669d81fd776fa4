"""The hearth: the rules of the platform, pure.

**Invariant:** functions take ``now`` and data and return decisions; the same input gives the same
output.
**Boundary:** imports the standard library's data types only (``cron`` alone may import cronsim).
"""

from __future__ import annotations
