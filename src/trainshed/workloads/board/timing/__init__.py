"""Instructions to seconds, watts and joules, each with its error band."""

from __future__ import annotations
