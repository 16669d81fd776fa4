"""Ways to notify: one folder each.

**Invariant:** an address that a user gave is checked at connect time, and a delivery is tried
again only with the same event id.
**Boundary:** imports `domain` and `ports`; channels do not know each other, and none calls a use
case.
"""

from __future__ import annotations
