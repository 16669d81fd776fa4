"""Every plugin folder introduces itself, and introducing runs nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainshed.bootstrap import registry

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "trainshed"


@pytest.mark.parametrize("room", registry.ROOMS)
def test_every_folder_is_found_by_its_own_name(room: str) -> None:
    folders = {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
    assert folders <= set(registry.discover(room))


@pytest.mark.parametrize("room", registry.ROOMS)
def test_a_manifest_names_something_in_its_own_folder(room: str) -> None:
    for path in (PACKAGE / room).glob("*/__init__.py"):
        name = path.parent.name
        manifest = registry.discover(room)[name]
        assert manifest.target.partition(":")[0].startswith(f"trainshed.{room}.{name}")
        assert manifest.summary, f"{room}/{name} does not say what it is"


def test_discovering_everything_imports_no_framework() -> None:
    code = (
        "import sys; from trainshed.bootstrap import registry\n"
        "for room in registry.ROOMS: registry.discover(room)\n"
        "print(sorted({'torch', 'ray', 'transformers', 'optuna', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
