"""Graph to C: a function a layer, a static memory plan, exact integer arithmetic."""

from __future__ import annotations
