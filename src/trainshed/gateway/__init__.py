"""Inference traffic to the replicas of a Deployment.

**Invariant:** a request reaches only a replica whose lease is live, and no request body is kept.
**Boundary:** as the dialects: `http`, `usecases`, `ports` and `domain` values; never a wing.
"""

from __future__ import annotations
