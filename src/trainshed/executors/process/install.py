"""What the template needs on disk: its own source, and the job helper where jobs can read it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from functools import cache
from pathlib import Path

import trainshed
from trainshed.domain.errors import Unavailable

PACKAGE = Path(trainshed.__file__).parent
HELPER = "trainshed_job"


def template() -> Path:
    """Return the program that the executor execs."""
    return PACKAGE / "runner" / "template.py"


#: What container engines are told by the operator's environment; jobs see none of it.
ENGINE_ENV = (
    "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR", "DOCKER_HOST",
    "DBUS_SESSION_BUS_ADDRESS", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF",
    "CONTAINERS_REGISTRIES_CONF", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


def engine_env() -> dict[str, str]:
    """Return what of this process's environment is for container engines."""
    return {name: os.environ[name] for name in ENGINE_ENV if name in os.environ}


@cache
def stamp(extra: tuple[tuple[str, str], ...] = ()) -> str:
    """Return a digest of the runner's source and of ``extra``: another one means that a template
    is outdated.
    """
    digest = hashlib.sha256(repr(extra).encode() if extra else b"")
    files = [path for room in ("runner", "wire") for path in (PACKAGE / room).rglob("*.py")]
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def helper_source() -> Path:
    """Return the folder of the ``trainshed_job`` package: installed, or in this checkout.

    Raises Unavailable.
    """
    found = importlib.util.find_spec(HELPER)
    if found is not None and found.origin is not None:
        return Path(found.origin).parent
    checkout = PACKAGE.parents[1] / "sdk" / "python" / "job" / "src" / HELPER
    if checkout.is_dir():
        return checkout
    raise Unavailable("The package trainshed-job is missing: pip install trainshed-job.")


def prepare(data: Path) -> Path:
    """Make ``DATA/run`` and ``DATA/workspaces``; return the folder for the job's PYTHONPATH.

    The helper is copied: its own place (site-packages) would drag other packages into a job's
    environment.
    """
    run = data / "run"
    run.mkdir(mode=0o711, parents=True, exist_ok=True)
    workspaces = data / "workspaces"
    workspaces.mkdir(exist_ok=True)
    workspaces.chmod(0o711)
    library = run / "job-lib"
    target = library / HELPER
    part = library / f".{HELPER}.{os.getpid()}"
    library.mkdir(mode=0o755, exist_ok=True)
    library.chmod(0o755)
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(helper_source(), part, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (part, *part.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return library
