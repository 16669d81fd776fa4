"""Docs that can be wrong are tested: paths and rooms, settings, errors, routes and plugins."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "trainshed"
REFERENCE = ROOT / "docs" / "reference"
PATH = re.compile(r"[\w.\-]+(?:/[\w.\-]*)+|[\w.\-/]+\.(?:py|md|toml|sh|lock|allow)")
METHODS = {"get", "post", "put", "patch", "delete"}


def named(text: str) -> set[str]:
    """What stands in backticks outside fenced blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)))


def reference(name: str) -> set[str]:
    """What docs/reference/NAME.md names in backticks; empty when there is no such file."""
    path = REFERENCE / f"{name}.md"
    return named(path.read_text()) if path.is_file() else set()


def plain(path: str) -> str:
    """`{key:path}` as the OpenAPI document says it."""
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


def documented_routes() -> set[str]:
    """`GET, POST /v1/jobs` in docs/reference/routes.md names two routes."""
    return {
        plain(f"{method} {path}")
        for entry in reference("routes")
        for methods, _, path in [entry.rpartition(" ")]
        for method in re.findall(r"[A-Z]+", methods)
    }


def documented_plugins() -> set[str]:
    """The headings of docs/reference/plugins.md, one for each plugin: ## room: `name`."""
    path = REFERENCE / "plugins.md"
    text = path.read_text() if path.is_file() else ""
    return {"/".join(found) for found in re.findall(r"^#+ (\w+): `(\w+)`", text, flags=re.M)}


def needs(module: str) -> None:
    """Skip while the module does not exist; one that exists and is broken fails the test."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{module} does not exist yet")


def assert_all_in(things: set[str], documented: set[str]) -> None:
    """Fail with the whole list of what the document lacks."""
    missing = sorted(things - documented)
    assert not missing, "not documented: " + ", ".join(missing)


def architecture() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_every_path_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    paths = sorted(name for name in named(text) if PATH.fullmatch(name))
    missing = [p for p in paths if not (ROOT / p).exists() and not (PACKAGE / p).exists()]
    assert missing == []
    assert paths


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_every_relative_link_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_room_is_named_in_the_architecture() -> None:
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert_all_in(rooms, named(architecture()))


def test_every_room_has_its_invariant_and_boundary() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        text = path.read_text()
        assert "**Invariant:**" in text, path
        assert "**Boundary:**" in text, path
    for room in re.split(r"^### ", architecture(), flags=re.M)[1:]:
        if room.startswith("`"):
            assert "**Invariant:**" in room, room[:40]
            assert "**Boundary:**" in room, room[:40]


def test_the_architecture_is_short() -> None:
    assert len(architecture().splitlines()) <= 300


def test_every_setting_is_documented() -> None:
    needs("trainshed.bootstrap.settings")
    from trainshed.bootstrap.settings import Settings

    assert_all_in(set(Settings.model_fields), reference("settings"))


def subclasses(of: type) -> Iterator[type]:
    for one in of.__subclasses__():
        if one.__module__.startswith("trainshed."):
            yield one
            yield from subclasses(one)


def test_every_error_code_is_documented() -> None:
    needs("trainshed.domain.errors")
    from trainshed.domain.errors import TrainshedError

    codes = {vars(one)["code"] for one in subclasses(TrainshedError) if "code" in vars(one)}
    assert codes
    assert_all_in(codes, reference("errors"))


def test_every_error_has_a_code_of_its_own() -> None:
    from trainshed.domain.errors import TrainshedError

    every = list(subclasses(TrainshedError))
    assert [one.__name__ for one in every if "code" not in vars(one)] == []
    assert len({vars(one)["code"] for one in every}) == len(every)


def test_every_route_is_documented(tmp_path: Path) -> None:
    needs("trainshed.bootstrap.apps")
    from trainshed.bootstrap import apps, wiring
    from trainshed.bootstrap.settings import Settings

    settings = Settings(_env_file=None, data=wiring.prepare(tmp_path / "data"))
    routes = {f"{method} {path}" for path, method, _, _ in apps.describe(settings)}
    engine = wiring.build(settings, wiring.addresses(settings), "http://127.0.0.1:8000")
    try:
        document = apps.create(engine, settings, None).openapi()
    finally:
        engine.deps.store.close()
    routes |= {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in METHODS.intersection(item)
    }
    assert routes
    assert_all_in({plain(route) for route in routes}, documented_routes())


def test_every_plugin_is_documented() -> None:
    needs("trainshed.bootstrap.registry")
    from trainshed.bootstrap import registry

    plugins = {f"{room}/{name}" for room in registry.ROOMS for name in registry.discover(room)}
    assert_all_in(plugins, documented_plugins())


def test_the_generated_reference_is_up_to_date() -> None:
    tool = ROOT / "tools" / "reference.py"
    if not tool.is_file():
        pytest.skip("nothing generates the reference")
    done = subprocess.run(
        [sys.executable, tool, "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
