"""What of a folder is uploaded: gitignore rules of ``.trainshedignore``, no links followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainshed_client.errors import InvalidInput

IGNORE_FILE = ".trainshedignore"
#: Left out unless the ignore file takes them back with ``!pattern``.
ALWAYS = (
    ".git/", ".hg/", ".svn/", "__pycache__/", "*.pyc", ".venv/", "venv/", "node_modules/",
    ".mypy_cache/", ".ruff_cache/", ".pytest_cache/", ".ipynb_checkpoints/", ".DS_Store",
    IGNORE_FILE,
)  # fmt: skip


@dataclass(frozen=True)
class FolderFile:
    """One file to upload. ``path`` is relative, with ``/``; ``local`` is where it is here."""

    path: str
    local: Path
    size_bytes: int


@dataclass(frozen=True)
class Folder:
    """What an upload of ``root`` would send; ``skipped`` are links and special files."""

    root: Path
    files: tuple[FolderFile, ...]
    skipped: tuple[str, ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)


def scan(root: str | Path, *, ignore: Iterable[str] = ()) -> Folder:
    """Return the files under ``root`` that no rule leaves out, in a stable order.

    Args:
        root: The folder.
        ignore: More gitignore patterns, stronger than those of the ignore file.

    Raises:
        InvalidInput: ``root`` is no folder, or a pattern cannot be read.
    """
    from pathspec import GitIgnoreSpec

    base = Path(root)
    if not base.is_dir():
        raise InvalidInput(f"{base} is not a folder.")
    own = base / IGNORE_FILE
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    try:
        rules = GitIgnoreSpec.from_lines([*ALWAYS, *lines, *ignore])
    except ValueError as error:
        raise InvalidInput(f"{own}: {error}") from error
    files: list[FolderFile] = []
    skipped: list[str] = []
    for path, entry in _walk(base, "", lambda name: not rules.match_file(name)):
        if entry.is_file(follow_symlinks=False):
            size = entry.stat(follow_symlinks=False).st_size
            files.append(FolderFile(path, Path(entry.path), size))
        else:
            skipped.append(path)
    return Folder(base, tuple(files), tuple(skipped))


def _walk(
    folder: Path, prefix: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if wanted(path + "/"):
                yield from _walk(Path(entry.path), path + "/", wanted)
        elif wanted(path):
            yield path, entry
