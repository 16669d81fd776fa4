"""The boards, a file each."""

from __future__ import annotations
