"""The methods of ``MiddlemanClient``, a family a file."""

from __future__ import annotations
