"""Trainshed: one self-hosted ML platform, five documented systems under one roof.

**Invariant:** importing `trainshed` builds nothing and never imports torch.
**Boundary:** this file gives the version and nothing else; ARCHITECTURE.md names the rooms.
"""

from __future__ import annotations

__version__ = "0.1.0"
