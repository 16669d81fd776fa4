"""One file an operator family; see ``compiler/entry.py`` for how to add one."""

from __future__ import annotations
