"""Backup and restore of a data directory, and the collection of content nothing refers to."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from trainshed.bootstrap import doctor
from trainshed.bootstrap.settings import Settings
from trainshed.bootstrap.wiring import Refused, build, store_only
from trainshed.usecases import housekeeping

DATABASE = "trainshed.db"
KEPT = ("blobs", "secrets")


def backup(settings: Settings, target: Path) -> str:
    """Copy into the new folder ``target``; return a sentence.

    The database is copied first: content is never changed once written, so everything that the
    copied rows refer to is still there when the content is copied after them.

    Raises:
        Refused: the target exists, there is no data, or the database is PostgreSQL.
    """
    source = settings.data / DATABASE
    if settings.database is not None:
        raise Refused("With PostgreSQL use pg_dump for the database and copy blobs and secrets.")
    if not source.exists():
        raise Refused(f"There is no data in {settings.data}.")
    if target.exists():
        raise Refused(f"{target} exists; name a new folder.")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    store = store_only(settings)
    try:
        store.backup(str(partial / DATABASE))
    finally:
        store.close()
    for name in KEPT:
        if (settings.data / name).exists():
            shutil.copytree(settings.data / name, partial / name)
    credentials = settings.data / "credentials.json"
    if credentials.exists():
        shutil.copy2(credentials, partial)
    partial.rename(target)
    return f"Backed up {settings.data} to {target}."


def restore(source: Path, data: Path) -> str:
    """Make ``data`` from a backup, then verify it; return a sentence.

    Raises:
        Refused: the target exists, the source is no backup, or it does not verify.
    """
    if not (source / DATABASE).exists():
        raise Refused(f"{source} is no backup: it has no {DATABASE}.")
    if data.exists() and any(data.iterdir()):
        raise Refused(f"{data} is not empty; name a new folder.")
    shutil.copytree(source, data, dirs_exist_ok=True)
    data.chmod(0o700)
    broken = doctor.verify(Settings(data=data))
    if broken:
        raise Refused("The restored data does not verify: " + "; ".join(broken[:5]))
    return f"Restored {source} to {data}; every invariant holds."


def collect(settings: Settings, grace_hours: float) -> housekeeping.Swept:
    """Sweep content that nothing refers to, older than the grace."""
    engine = build(settings, [], "")
    try:
        return housekeeping.collect_garbage(engine.deps, timedelta(hours=grace_hours))
    finally:
        engine.deps.store.close()
