"""The composition root: settings, registry, server, command line.

**Invariant:** engines, clients and settings objects are built here and nowhere else, and never at
import.
**Boundary:** may import everything; nobody imports it.
"""

from __future__ import annotations
