"""How a plug-in folder introduces itself: read without importing what it names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manifest:
    """``target`` is ``module:attribute``, imported on first use; ``extra`` is what pip installs
    for it.
    """

    name: str
    target: str
    extra: str | None = None
    summary: str = ""
