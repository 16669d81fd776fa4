"""One repository for each Protocol of ``ports.store``: rows in, domain values out."""

from __future__ import annotations
