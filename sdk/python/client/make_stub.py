"""Writes ``sync.pyi`` from what ``portal.derive`` makes, so that type checkers and editors see it.

Run it after changing an async method:  .venv/bin/python sdk/python/client/make_stub.py
"""

from __future__ import annotations

import builtins
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainshed_client.api.files import DownloadStream
from trainshed_client.api.group import Group
from trainshed_client.client import AsyncClient
from trainshed_client.portal import derive
from trainshed_client.sync import Client

TARGET = Path(__file__).parent / "src" / "trainshed_client" / "sync.pyi"
HEAD = '"""Written by make_stub.py from the async client; do not edit."""\n\n'
_STANDARD = {
    "Any": "typing",
    "Iterator": "collections.abc",
    "AbstractContextManager": "contextlib",
}


class Bare(str):
    """An annotation that prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def groups() -> dict[str, type[Group]]:
    """Return the noun groups of the client, by attribute."""
    client = AsyncClient("http://stub.invalid", "none")
    return {k: type(v) for k, v in vars(client).items() if isinstance(v, Group)}


def methods(made: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a derived class, in the order of the async one."""
    for name, member in vars(made).items():
        if callable(member) and (not name.startswith("_") or name == "__init__"):
            yield name, member


def signature(name: str, member: Any) -> str:
    """Return the stub of one method."""
    found = inspect.signature(member)
    parameters = [
        p.replace(annotation=Bare(p.annotation))
        if p.annotation is not p.empty and p.name != "self"
        else p.replace(annotation=p.empty)
        for p in found.parameters.values()
    ]
    shown = found.replace(parameters=parameters, return_annotation=Bare(found.return_annotation))
    return f"    def {name}{shown}: ..."


def imports(text: str, spaces: list[dict[str, Any]], own: set[str]) -> list[str]:
    """Return the import lines that the names in ``text`` need."""
    lines = set()
    for word in set(re.findall(r"\b[A-Za-z_]\w*\b", text)) - own:
        if word in _STANDARD:
            lines.add(f"from {_STANDARD[word]} import {word}")
            continue
        home = next((space for space in spaces if word in space), None)
        if home is None or hasattr(builtins, word):
            continue
        value = home[word]
        if isinstance(value, types.ModuleType):
            lines.add(f"import {value.__name__}")
        elif getattr(value, "__name__", "") == word and value.__module__ != "builtins":
            lines.add(f"from {value.__module__} import {word}")
        else:
            lines.add(f"from {home['__name__']} import {word}")
    return sorted(lines)


def stub() -> str:
    """Return the whole stub, formatted."""
    nouns = groups()
    found: list[type[Any]] = [DownloadStream, *nouns.values()]
    classes = [(derive(cls), cls) for cls in found]
    bodies, spaces = [], []
    for made, cls in classes:
        spaces.append(vars(sys.modules[cls.__module__]))
        rows = [signature(name, member) for name, member in methods(made)]
        if cls is DownloadStream:
            rows = ["    size_bytes: int | None", "    filename: str | None", *rows]
        bodies.append("\n".join([f"class {made.__name__}:", *rows]))
    spaces.append(vars(sys.modules[AsyncClient.__module__]))
    rows = ["    url: str"]
    rows += [f"    {noun}: {derive(cls).__name__}" for noun, cls in nouns.items()]
    rows += [signature(name, member) for name, member in methods(Client)]
    rows += [
        "    def __enter__(self) -> Client: ...",
        "    def __exit__(self, *_: object) -> None: ...",
    ]
    bodies.append("\n".join(["class Client:", *rows]))
    text = "\n\n".join(bodies)
    own = {made.__name__ for made, _ in classes} | {"Client"}
    lines = imports(re.sub(r"def \w+|\w+:(?= )", "", text) + hints(text), spaces, own)
    return tidy(HEAD + "\n".join(lines) + "\n\n" + text + "\n")


def hints(text: str) -> str:
    """Return all that stands after a colon or an arrow."""
    return " ".join(re.findall(r"(?:: |-> )([^=\n]+)", text))


def tidy(text: str) -> str:
    """Return ``text`` as ruff would write it."""
    ruff = Path(sys.executable).parent / "ruff"
    for arguments in (["check", "--fix-only", "--quiet"], ["format"]):
        command = [str(ruff), *arguments, "--stdin-filename", str(TARGET), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        text = done.stdout
    return text


if __name__ == "__main__":
    TARGET.write_text(stub())
    print(f"{TARGET.name}: {len(TARGET.read_text().splitlines())} lines")
