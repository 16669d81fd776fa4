"""What all doors share: app factory, authentication, errors, paging, server-sent events.

**Invariant:** a route is closed unless it says whom it lets in, and no framework error body
leaks.
**Boundary:** imports use cases and below; sees no dialect and no wing.
"""

from __future__ import annotations
