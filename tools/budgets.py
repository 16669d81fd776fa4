"""Budgets that fail the build: length of files and functions, cost and weight of imports.

Complexity is ruff's (C901). The numbers are law 13 of the house; see CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES = 400
FUNCTION_LINES = 60
CLIENT_IMPORT_MS = 150.0
CLIENTS = ("trainshed_client", "middleman", "mimaas")
IMPORT_RUNS = 5
MEASURED = ("src", "sdk", "tests", "tools")
SHIPPED = ("src", "sdk")
ALLOW = ROOT / "tools" / "budgets.allow"
SKIPPED_FOLDERS = {"node_modules", "__pycache__", ".venv"}

TIME_IMPORT = """
import time
start = time.perf_counter()
import {name}
print((time.perf_counter() - start) * 1000)
"""
TORCH_LOADED = "import sys, trainshed; print('torch' in sys.modules)"


def sources(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """Every Python file under the folders, in a stable order."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if not SKIPPED_FOLDERS.intersection(path.parts):
                yield path


def read_allow_list(path: Path) -> tuple[dict[str, str], list[str]]:
    """The allowed paths with their reasons, and what is wrong with the list."""
    allowed: dict[str, str] = {}
    wrong: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        entry, _, reason = (part.strip() for part in line.partition("#"))
        if entry and not reason:
            wrong.append(f"{path.name}:{number}: {entry} is allowed without a reason")
        elif entry:
            allowed[entry] = reason
    return allowed, wrong


def long_files(root: Path, allowed: dict[str, str]) -> Iterator[str]:
    """Files over the budget, and allowances that nothing needs any more."""
    needed: set[str] = set()
    for path in sources(root, MEASURED):
        name = path.relative_to(root).as_posix()
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES and name in allowed:
            needed.add(name)
        elif lines > FILE_LINES:
            yield f"{name}: {lines} lines, {FILE_LINES} allowed"
    for name in sorted(set(allowed) - needed):
        yield f"{ALLOW.name}: {name} is allowed to be long and is not; drop the line"


def long_functions(root: Path) -> Iterator[str]:
    """Functions of the shipped code over the budget, decorators not counted."""
    for path in sources(root, SHIPPED):
        for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                where = f"{path.relative_to(root).as_posix()}:{node.lineno}"
                yield f"{where}: {node.name} has {lines} lines, {FUNCTION_LINES} allowed"


def in_fresh_python(code: str) -> str:
    """What a new interpreter prints when it runs the code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()


def slow_imports() -> Iterator[str]:
    """The clients' import times, the best of several so that a busy machine does not fail it."""
    for name in CLIENTS:
        code = TIME_IMPORT.format(name=name)
        try:
            best = min(float(in_fresh_python(code)) for _ in range(IMPORT_RUNS))
        except RuntimeError as error:
            yield f"import {name}: {error}"
            continue
        if best > CLIENT_IMPORT_MS:
            yield f"import {name}: {best:.0f} ms, {CLIENT_IMPORT_MS:.0f} ms allowed"


def heavy_imports() -> Iterator[str]:
    """Whether importing the server package brings torch along."""
    try:
        if in_fresh_python(TORCH_LOADED) != "False":
            yield "import trainshed: imports torch, which only a job may"
    except RuntimeError as error:
        yield f"import trainshed: {error}"


def findings(root: Path = ROOT) -> list[str]:
    """Everything over budget, one readable line each."""
    allowed, wrong = read_allow_list(ALLOW)
    return [
        *wrong,
        *long_files(root, allowed),
        *long_functions(root),
        *slow_imports(),
        *heavy_imports(),
    ]


def main() -> int:
    """Print what is over budget; exit 1 if anything is."""
    found = findings()
    for line in found:
        print(line)
    n_files = sum(1 for _ in sources(ROOT, MEASURED))
    print(f"budgets: {n_files} files measured, {len(found)} over budget")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
