"""Content-addressed bytes in the layout of a DVC remote.

**Invariant:** an object is whole or absent, and its bytes hash to its address.
**Boundary:** imports `domain` and `ports`; nobody but `bootstrap` imports it.
"""

from __future__ import annotations
