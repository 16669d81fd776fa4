"""In-memory fakes and conformance suites that ship with the package.

**Invariant:** a fake passes the conformance suite of the port it stands for.
**Boundary:** imports `domain` and `ports`; no room of the server imports it.
"""

from __future__ import annotations
