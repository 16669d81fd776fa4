"""The folders of one Attempt, and what is put into them before the user's process starts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainshed.runner.client import Broken, Client, Silent
from trainshed.runner.unpack import BadArchive, unpack

FOLDERS = ("work", "output", "checkpoints", "tmp", "job")
RESUME = "resume"
TRIES = 5
#: Stands for a status where the body broke off.
BROKEN = 0


class InputMissing(Exception):
    """An input cannot be put in place; the text says which and why."""


class Interrupted(Exception):
    """The Attempt was stopped while its inputs were fetched."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths of one Attempt. Logs and the outcome lie beside, not inside, what the job sees."""

    root: str

    @property
    def work(self) -> str:
        """The job's working directory, with the inputs at their paths."""
        return f"{self.root}/work"

    @property
    def output(self) -> str:
        """What becomes the Job's artifacts."""
        return f"{self.root}/output"

    @property
    def checkpoints(self) -> str:
        """What the next Attempt finds when it resumes."""
        return f"{self.root}/checkpoints"

    @property
    def resume(self) -> str:
        """The checkpoint this Attempt resumes from."""
        return f"{self.root}/resume"

    @property
    def tmp(self) -> str:
        """Scratch and HOME."""
        return f"{self.root}/tmp"  # noqa: S108

    @property
    def job(self) -> str:
        """Flags to the job, metrics from it."""
        return f"{self.root}/job"

    @property
    def outcome(self) -> str:
        """The runner's last word, for an executor that finds it gone."""
        return f"{self.root}/outcome.json"

    @property
    def stop_flag(self) -> str:
        """Exists once the job was asked to stop; holds the order's kind."""
        return f"{self.job}/stop"

    @property
    def checkpoint_flag(self) -> str:
        """Touched when the job is asked for a checkpoint."""
        return f"{self.job}/checkpoint"

    @property
    def points(self) -> str:
        """The append file of ``trainshed_job``."""
        return f"{self.job}/metrics.jsonl"


def create(root: str, uid: int | None, resuming: bool) -> Workspace:
    """Make the folders, owned by the job's uid; leftovers of a failed launch are removed.

    Raises OSError (disk full, no right).
    """
    names = (*FOLDERS, RESUME) if resuming else FOLDERS
    try:
        _make_all(root, names, uid)
    except FileExistsError:
        for name in names:
            shutil.rmtree(f"{root}/{name}", ignore_errors=True)
        _make_all(root, names, uid)
    return Workspace(root)


def open_log(path: str, uid: int | None) -> int:
    """Return a descriptor for appending. The job's uid owns it, so that /dev/stdout can be
    opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    if uid is not None:
        os.fchown(fd, uid, uid)
    return fd


def fetch_all(
    client: Client, place: Workspace, wanted: Mapping[str, Any], uid: int | None,
    go_on: Callable[[int], bool], resume_into: str = "",
) -> None:  # fmt: skip
    """Download inputs and resume files, verified, below the working and the resume directory (or
    ``resume_into``).

    ``go_on`` is asked before each, with its size in bytes.

    Raises:
        InputMissing: one is gone, does not match its digest, or is a bad archive.
        Interrupted: ``go_on`` said no.
        Stale: the lease is gone.
    """
    resume = wanted.get("resume") or {}
    sets = (
        ("inputs", wanted["inputs"], place.work),
        ("resume", resume.get("files", []), resume_into or place.resume),
    )
    for name, items, base in sets:
        for index, item in enumerate(items):
            if not go_on(int(item.get("size_bytes") or 0)):
                raise Interrupted
            _fetch(client, f"{name}/{index}", item, base, place.root, uid)


def flag(path: str, text: str, uid: int | None) -> None:
    """Put a small file where the job looks for it; never follows what the job put there."""
    part = f"{path}.{random.getrandbits(32):08x}"
    with contextlib.suppress(OSError):
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        os.write(fd, text.encode())
        if uid is not None:
            os.fchown(fd, uid, uid)
        os.close(fd)
        os.rename(part, path)


def size_of(place: Workspace, limit: int) -> int:
    """Return the bytes on disk below the job's folders; stops counting beyond ``limit``."""
    total = 0
    pending = [f"{place.root}/{name}" for name in FOLDERS]
    while pending and total <= limit:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def safe_relative(path: str) -> str:
    """Return a clean relative path. Raises ValueError for one that could leave its directory."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or "\0" in path or ".." in parts:
        raise ValueError(path)
    return "/".join(parts)


def _make_all(root: str, names: Iterable[str], uid: int | None) -> None:
    for name in names:
        path = f"{root}/{name}"
        os.mkdir(path, 0o700)
        if uid is not None:
            os.chown(path, uid, uid)


def _fetch(
    client: Client, source: str, item: Mapping[str, Any], base: str, spare: str, uid: int | None
) -> None:
    name = str(item["path"])
    try:
        relative = safe_relative(name)
    except ValueError:
        raise InputMissing(f"The input path {name!r} leaves the working directory.") from None
    archive = bool(item.get("unpack"))
    target = f"{base}/{relative}" if relative else base
    into = f"{spare}/archive.part" if archive else target
    if not archive:
        make_parents(base, os.path.dirname(relative), uid)
    try:
        _download(client, source, item, into)
        if archive:
            make_parents(base, relative, uid)
            unpack(into, target, uid)
        else:
            os.chmod(into, 0o755 if item.get("executable") else 0o644)
            if uid is not None:
                os.chown(into, uid, uid, follow_symlinks=False)
    except BadArchive as error:
        raise InputMissing(f"The input {name!r} cannot be unpacked: {error}") from error
    except OSError as error:
        raise InputMissing(f"The input {name!r} cannot be written: {error.strerror}.") from error
    finally:
        if archive:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(into)


def make_parents(base: str, relative: str, uid: int | None) -> None:
    """Make ``base/relative`` step by step, owned by the job's uid. Raises OSError."""
    path = base
    for part in relative.split("/"):
        if part:
            path = f"{path}/{part}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o755)
                if uid is not None:
                    os.chown(path, uid, uid)


def _download(client: Client, source: str, item: Mapping[str, Any], path: str) -> None:
    name, wanted, wait = item["path"], str(item.get("sha256") or ""), 0.05
    failures = 0
    while failures < TRIES:
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as into:
            status = _stream(client, source, into, digest.update)
        if status == 200 and (not wanted or digest.hexdigest() == wanted):
            return
        if status in (401, 409):
            client.call("GET", "orders?wait_s=0")  # raises Stale if the lease is really gone
        if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
            raise InputMissing(f"The server no longer has the input {name!r} ({status}).")
        failures += status in (200, BROKEN)
        time.sleep(wait * (0.5 + random.random()))
        wait = min(wait * 1.7, 5.0)
    raise InputMissing(f"The input {name!r} does not match its digest; upload it again.")


def _stream(client: Client, source: str, into: Any, update: Any) -> int | None:
    try:
        return client.download(source, into, update)
    except Broken:
        return BROKEN
    except Silent:
        return None
