"""``make bench``: each row is a ratio against a floor or a peer measured in the same run (D19)."""

from __future__ import annotations
