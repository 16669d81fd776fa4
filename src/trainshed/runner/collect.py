"""Taking what a job left: a whole directory, hashed, uploaded and committed, or nothing.

The job may still be running and may be hostile: nothing is opened by a path through a folder the
job
can swap for a link, and only regular files are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from trainshed.runner.client import RETRY_STATUS, Changed, Client, Silent, Stale
from trainshed.wire.v1 import Collected

MAX_FILES = 100_000
MAX_PATH, MAX_PART = 1024, 255
#: Percent-encodings that mean a path trick once someone decodes them.
ENCODED = ("%2e", "%2f", "%5c", "%25", "%00", "%c0", "%c1")
MAX_DEPTH = 64
MAX_STEP_FILE = 4096
BLOCK = 1024 * 1024
FULL_DISK_TRIES = 30
#: How ``trainshed_job`` names what it is still writing.
UNFINISHED = ".tmp-"
_STEP_NAME = re.compile(r"(?:checkpoint|step|ckpt|epoch|iter)[-_]?(\d+)")


class CollectFailed(Exception):
    """What the job left cannot be kept; the text says why, for its owner."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file, as it was when it was listed."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    executable: bool


@dataclass(slots=True)
class Snapshot:
    """A listed directory. ``skipped``: what is no regular file, or has no keepable name."""

    entries: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[Entry, ...]:
        """Compares equal while nothing changed."""
        return tuple(self.entries)


def is_empty(path: str) -> bool:
    """Return whether a directory has no entry: the usual case, found in one look."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def listing(root: str) -> Snapshot:
    """Return every regular file below ``root``, by descriptors, following no link.

    Raises:
        CollectFailed: too many files, or too deep.
    """
    found = Snapshot()
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return found
    _walk(top, "", 0, found)
    found.entries.sort(key=lambda entry: entry.path)
    return found


def _walk(folder: int, prefix: str, depth: int, found: Snapshot) -> None:
    """List one folder and those below; closes ``folder``."""
    try:
        if depth > MAX_DEPTH:
            raise CollectFailed(f"Folders are nested more than {MAX_DEPTH} deep.")
        for name in os.listdir(folder):
            path = f"{prefix}{name}"
            if name.startswith(UNFINISHED):
                continue
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    below = os.open(name, flags, dir_fd=folder)
                    _walk(below, f"{path}/", depth + 1, found)
                elif stat.S_ISREG(facts.st_mode) and keepable(path):
                    found.entries.append(_entry(path, facts))
                else:
                    found.skipped.append(path)
                if len(found.entries) > MAX_FILES:
                    raise CollectFailed(f"There are more than {MAX_FILES} files; pack them.")
    except OSError as error:
        raise CollectFailed(f"A folder cannot be read: {error.strerror}.") from error
    finally:
        os.close(folder)


def keepable(path: str) -> bool:
    """Return whether the server takes a file of this name; the rule is the server's own.

    One odd name must not lose the whole set: such a file is left out and named.
    """
    folded = path.lower()
    odd = any(ord(c) < 32 or 127 <= ord(c) < 160 or "\ud800" <= c <= "\udfff" for c in path)
    encoded = any(mark in folded for mark in ENCODED)
    drive = len(path) > 1 and path[1] == ":" and path[0].isascii() and path[0].isalpha()
    if odd or encoded or drive or "\\" in path or "://" in path:
        return False
    longest = max(len(part.encode()) for part in path.split("/"))
    return len(path.encode()) <= MAX_PATH and longest <= MAX_PART


def _entry(path: str, facts: os.stat_result) -> Entry:
    runs = bool(facts.st_mode & stat.S_IXUSR)
    return Entry(path, facts.st_size, facts.st_mtime_ns, facts.st_ino, runs)


@contextlib.contextmanager
def _opened(root: str, entry: Entry) -> Iterator[int]:
    """Open a listed file component by component. Raises Changed if it is not the listed one."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    parts = entry.path.split("/")
    folder = os.open(root, flags | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = below
        fd = os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise Changed from error
    finally:
        os.close(folder)
    try:
        _unchanged(fd, entry)
        yield fd
        _unchanged(fd, entry)
    finally:
        os.close(fd)


def _unchanged(fd: int, entry: Entry) -> None:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or _entry(entry.path, facts) != entry:
        raise Changed


class Collector:
    """Sends directories of one Attempt. Remembers what was committed, to send nothing twice."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._last: dict[str, tuple[Entry, ...]] = {}
        self._sent: dict[Entry, dict[str, Any]] = {}
        self._told: set[str] = set()

    def announce(self, active: bool) -> None:
        """Say that a snapshot of the running job begins or is over. Raises Stale."""
        self._client.call("POST", "checkpointing", {"active": active})

    def has_news(self, kind: str, root: str) -> bool:
        """Whether ``root`` holds files that are not what was committed last.

        Raises:
            CollectFailed: as ``listing``.
        """
        found = listing(root)
        return bool(found.entries) and found.key != self._last.get(kind)

    def collect(self, kind: str, root: str, runtime_ms: int, max_bytes: int) -> bool:
        """Commit ``root`` as it is now, unless it is empty or already committed; True if done.

        Raises:
            Changed: a file changed meanwhile; nothing was committed.
            CollectFailed: the server refuses it, or it is above a limit.
            Stale: the lease is gone.
        """
        found = listing(root)
        self._tell_skipped(kind, found)
        if not found.entries or found.key == self._last.get(kind):
            return False
        total = sum(entry.size for entry in found.entries)
        if max_bytes and total > max_bytes:
            raise CollectFailed(
                f"The {kind} files are {total:,} bytes; the limit is {max_bytes:,}. Write less."
            )
        files = [self._send(root, entry) for entry in found.entries]
        if kind == "checkpoint" and listing(root).key != found.key:
            raise Changed
        step = step_of(root, found) if kind == "checkpoint" else None
        message = Collected(kind, files, runtime_ms, step)
        answer = self._client.call("POST", "artifacts", message.to_json())
        if answer.status not in (200, 201):
            raise CollectFailed(_refusal(kind, answer.json().get("detail"), answer.status))
        self._last[kind] = found.key
        return True

    def _send(self, root: str, entry: Entry) -> dict[str, Any]:
        known = self._sent.get(entry)
        if known is not None:
            return known
        with _opened(root, entry) as fd:
            md5, sha256 = _digests(fd, entry.size)
            query = urlencode({"md5": md5, "sha256": sha256, "size": entry.size})
            self._upload(f"blobs?{query}", fd, entry)
        sent = {
            "path": entry.path,
            "size_bytes": entry.size,
            "md5": md5,
            "sha256": sha256,
            "executable": entry.executable,
        }
        self._sent[entry] = sent
        return sent

    def _upload(self, path: str, fd: int, entry: Entry) -> None:
        wait, full = 0.05, 0
        while True:
            try:
                answer = self._client.upload(path, fd, entry.size)
            except Silent:
                answer = None
            if answer is not None:
                if answer.status in (200, 201):
                    return
                if answer.stale:
                    raise Stale
                full += answer.json().get("code") == "storage_full"
                waits = answer.status in RETRY_STATUS or 0 < full < FULL_DISK_TRIES
                if not waits:
                    _unchanged(fd, entry)
                    detail = answer.json().get("detail")
                    raise CollectFailed(_refusal(entry.path, detail, answer.status))
            time.sleep(wait * (0.5 + random.random()))
            wait = min(wait * 1.7, 5.0)

    def _tell_skipped(self, kind: str, found: Snapshot) -> None:
        for path in found.skipped:
            if path not in self._told and len(self._told) < 100:
                self._told.add(path)
                why = "is not a regular file" if keepable(path) else "has a name that is not kept"
                self._say(f"Not collected ({kind}): {path!r} {why}.")


def step_of(root: str, found: Snapshot) -> int | None:
    """Return the step a checkpoint says it was made at: ``step.json``, else its newest name."""
    newest = sorted(found.entries, key=lambda entry: entry.mtime_ns, reverse=True)
    for entry in newest:
        if entry.path.split("/")[-1] == "step.json" and entry.size <= MAX_STEP_FILE:
            with contextlib.suppress(Changed, OSError), _opened(root, entry) as fd:
                match = re.search(rb'"step"\s*:\s*(\d{1,18})\b', os.pread(fd, MAX_STEP_FILE, 0))
                if match:
                    return int(match[1])
    best: tuple[int, int] | None = None
    for entry in newest:
        for number in _STEP_NAME.findall(entry.path):
            if len(number) <= 18:
                best = max(best or (0, 0), (entry.mtime_ns, int(number)))
    return None if best is None else best[1]


def _digests(fd: int, size: int) -> tuple[str, str]:
    md5, sha256, at = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    while at < size:
        part = os.pread(fd, min(BLOCK, size - at), at)
        if not part:
            raise Changed
        md5.update(part)
        sha256.update(part)
        at += len(part)
    return md5.hexdigest(), sha256.hexdigest()


def _refusal(what: str, detail: object, status: int) -> str:
    why = detail if isinstance(detail, str) and detail else f"the server answered {status}"
    return f"{what!r} could not be kept: {why}"
