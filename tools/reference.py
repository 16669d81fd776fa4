"""Write docs/reference/*.md from the code: ``python tools/reference.py [--check]``.

What is generated cannot be wrong; ``--check`` (run by the tests) fails when a file is behind.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

from trainshed.bootstrap import registry
from trainshed.bootstrap.settings import Settings
from trainshed.domain import errors, events
from trainshed.http import errors as _  # noqa: F401  its codes are rendered too

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by tools/reference.py; change the code, not this file. -->\n"


def settings() -> str:
    """Return one heading per setting."""
    out = [NOTE, "# Settings\n"]
    out.append(
        "Order: command line, `TRAINSHED_*` environment, `.env` (or `--env-file`), the TOML file of"
        " `--config`, then the defaults. Lists are JSON in the environment.\n"
    )
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=name == "pools")
        if name == "data":
            default = "$XDG_DATA_HOME/trainshed"
        if name == "pools":
            default = ", ".join(f"{p.name} ({p.credits_per_hour:g}/h)" for p in default)
        out.append(f"## `{name}`\n\n{field.description}\n")
        out.append(f"Environment: `TRAINSHED_{name.upper()}`. Default: `{default}`.\n")
    return "\n".join(out)


def error_codes() -> str:
    """Return one heading per error code."""
    out = [
        NOTE,
        "# Errors\n",
        "Every error of `/v1` is `application/problem+json` with a `code`.\n",
    ]
    for kind in _subclasses(errors.TrainshedError):
        retry = "Trying again may help." if kind.retryable else "The same request fails again."
        words = inspect.cleandoc(kind.__doc__ or "").replace("\n", " ")
        out.append(f"## `{kind.code}`\n\n{words} {retry}\n")
    return "\n".join(out)


def event_kinds() -> str:
    """Return one row per event kind."""
    rows = [f"| `{kind}` | {words} |" for kind, words in events.KINDS.items()]
    return "\n".join([NOTE, "# Events\n", "| kind | means |", "|---|---|", *rows, ""])


def plugins() -> str:
    """Return one heading per plug-in folder."""
    out = [NOTE, "# Plug-ins\n"]
    for room in registry.ROOMS:
        for name, manifest in sorted(registry.discover(room).items()):
            extra = f" Needs `pip install 'trainshed[{manifest.extra}]'`." if manifest.extra else ""
            out.append(f"## {room}: `{name}`\n\n{manifest.summary}{extra}\n")
    return "\n".join(out)


def routes() -> str:
    """Return one heading per route of the live application, with its summary and guard."""
    from trainshed.bootstrap.apps import describe

    out = [NOTE, "# Routes\n"]
    with tempfile.TemporaryDirectory() as folder:
        for path, methods, guard, summary in describe(Settings(data=Path(folder))):
            out.append(f"## `{methods} {path}`\n\n{summary} Guard: {guard}.\n")
    return "\n".join(out)


def _subclasses(kind: type[Any]) -> list[type[Any]]:
    found = [kind]
    for one in kind.__subclasses__():
        found.extend(_subclasses(one))
    return found


PAGES = {
    "settings": settings,
    "errors": error_codes,
    "events": event_kinds,
    "plugins": plugins,
    "routes": routes,
}


def main() -> int:
    """Write the pages, or with ``--check`` say which are behind."""
    behind = []
    for name, make in PAGES.items():
        path, text = FOLDER / f"{name}.md", make()
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                behind.append(path.name)
        else:
            path.write_text(text)
    if behind:
        print(f"behind the code: {', '.join(behind)}; run .venv/bin/python tools/reference.py")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
