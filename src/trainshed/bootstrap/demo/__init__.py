"""The demo: a real job on real data, driven by the real client.

**Invariant:** every figure it prints was measured in this run.
**Boundary:** talks to the server it starts through ``trainshed_client`` only.
"""

from __future__ import annotations
