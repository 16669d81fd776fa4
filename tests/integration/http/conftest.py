from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.deps import World, world


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """A fresh server for one test."""
    with world(tmp_path) as one:
        yield one
