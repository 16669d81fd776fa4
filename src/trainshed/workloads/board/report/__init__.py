"""What a request leaves: memory trees, power traces, layers, the summary."""

from __future__ import annotations
