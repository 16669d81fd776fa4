"""Where a page begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class After:
    """A keyset cursor: rows strictly after this one in (created_at, id) descending order."""

    created_at: datetime
    id: str
