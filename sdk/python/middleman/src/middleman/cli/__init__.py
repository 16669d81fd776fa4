"""The ``middleman`` command. Modules of this room load when their command is used."""

from __future__ import annotations
