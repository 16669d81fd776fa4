"""Every command that README.md shows is run by a test: this table says which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(?:bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)

TESTED_BY = {
    "make demo": "tests/acceptance/test_demo.py",
    "make demo-board": "tests/acceptance/test_demo_board.py",
    "make test": ".ci/run",
    "make install": ".ci/run",
    "make check": ".ci/run",
    "make up": "tests/acceptance/conftest.py",
    ".venv/bin/trainshed up --data ./data": "tests/acceptance/conftest.py",
    ".venv/bin/trainshed login http://127.0.0.1:8000": "tests/acceptance/test_cli.py",
    ".venv/bin/trainshed run -- python train.py": "tests/acceptance/test_cli.py",
    ".venv/bin/trainshed jobs list": "tests/acceptance/test_cli.py",
    ".venv/bin/trainshed demo --data ./demo --json": "tests/acceptance/test_demo.py",
}


def commands(text: str) -> list[str]:
    """The command lines of the fenced blocks; prompts, comments and output are dropped."""
    lines: list[str] = []
    for block in BLOCK.findall(text.replace("\\\n", " ")):
        shown = [line.strip() for line in block.splitlines() if line.strip()]
        prompted = [line[2:] for line in shown if line.startswith("$ ")]
        lines += prompted or [line for line in shown if not line.startswith("#")]
    return [re.sub(r"\s+#.*$", "", " ".join(line.split())) for line in lines]


README = commands((ROOT / "README.md").read_text())


def test_the_first_two_commands_are_demo_and_test() -> None:
    assert README[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("command", README)
def test_every_command_is_run_by_a_test(command: str) -> None:
    assert command in TESTED_BY, f"README.md shows {command!r}: test it and name the test here"
    assert (ROOT / TESTED_BY[command]).is_file()


def test_make_commands_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in README:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command
