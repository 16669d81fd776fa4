"""The noun groups of the client, one family of routes a file."""

from __future__ import annotations
