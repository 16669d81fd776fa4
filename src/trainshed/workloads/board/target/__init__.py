"""Who runs a firmware: the emulator, or a real board behind its agent."""

from __future__ import annotations
