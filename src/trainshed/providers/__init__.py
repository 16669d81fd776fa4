"""Compute for hire: offers, prices, credentials, and which executor starts runners there.

**Invariant:** an offer always names its price and where the price comes from; a credential is
never logged.
**Boundary:** imports `domain` and `ports`; providers do not know each other, and none calls a use
case.
"""

from __future__ import annotations
