"""Schema changes, each frozen once released; run by ``store.migrate``."""

from __future__ import annotations
