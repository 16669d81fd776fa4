"""The budgets of tools/budgets.py hold, and the tool sees what it should."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def budgets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("budgets", ROOT / "tools" / "budgets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.alone
def test_nothing_is_over_budget(budgets: ModuleType) -> None:
    assert budgets.findings() == []


def test_a_long_file_is_found_unless_allowed(budgets: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "long.py").write_text("x = 1\n" * 401)
    assert list(budgets.long_files(tmp_path, {})) == ["src/long.py: 401 lines, 400 allowed"]
    assert list(budgets.long_files(tmp_path, {"src/long.py": "a table"})) == []


def test_an_allowance_nobody_needs_is_found(budgets: ModuleType, tmp_path: Path) -> None:
    (found,) = budgets.long_files(tmp_path, {"src/gone.py": "was long"})
    assert "src/gone.py" in found


def test_an_allowance_needs_a_reason(budgets: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "allow").write_text("# heading\nsrc/a.py # a table\nsrc/b.py\n")
    allowed, wrong = budgets.read_allow_list(tmp_path / "allow")
    assert allowed == {"src/a.py": "a table"}
    assert wrong == ["allow:3: src/b.py is allowed without a reason"]


def test_a_long_function_is_found(budgets: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "f.py").write_text("async def f():\n" + "    x = 1\n" * 60)
    assert list(budgets.long_functions(tmp_path)) == ["sdk/f.py:1: f has 61 lines, 60 allowed"]
