"""Plug-in folders are found by looking, and imported on use: listing them runs nothing heavy."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Any

from trainshed.ports.manifest import Manifest

ROOMS = ("executors", "workloads", "providers", "catalogs", "channels")


class BrokenPlugin(Exception):
    """A plug-in cannot be used; the message says what to install or rename."""


def discover(room: str) -> dict[str, Manifest]:
    """Return name -> Manifest of every folder of ``room`` and of installed third-party ones.

    Raises:
        BrokenPlugin: two have the same name, or a folder has no MANIFEST.
    """
    found: dict[str, Manifest] = {}
    package = importlib.import_module(f"trainshed.{room}")
    for info in pkgutil.iter_modules(package.__path__, f"trainshed.{room}."):
        if info.ispkg:
            _add(found, getattr(importlib.import_module(info.name), "MANIFEST", None), info.name)
    for point in entry_points(group=f"trainshed.{room}"):
        _add(found, point.load(), point.value)
    return found


def load(manifest: Manifest) -> Any:
    """Import and return what the manifest names.

    Raises:
        BrokenPlugin: a dependency is missing; says which extra brings it.
    """
    module, _, attribute = manifest.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        advice = (
            f" Install it: pip install 'trainshed[{manifest.extra}]'." if manifest.extra else ""
        )
        raise BrokenPlugin(f"{manifest.name} cannot be loaded: {error}.{advice}") from error


def _add(found: dict[str, Manifest], manifest: Manifest | None, where: str) -> None:
    if manifest is None:
        raise BrokenPlugin(f"{where} has no MANIFEST in its __init__.py.")
    if manifest.name in found:
        raise BrokenPlugin(f"Two plug-ins are named {manifest.name!r}: rename {where}.")
    found[manifest.name] = manifest
