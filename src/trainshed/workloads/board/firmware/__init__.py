"""Program to a linked image for one board, cached by content."""

from __future__ import annotations
