"""A path that a user wrote becomes inputs of a Job (D8): uploads by key, never server paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainshed.domain.artifact import check_path
from trainshed.domain.errors import InvalidInput, NotFound, TooLarge
from trainshed.domain.job import InputRef
from trainshed.domain.people import Principal, Right
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx, Upload
from trainshed.usecases import uploads

MAX_FILES = 5_000
ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True, slots=True)
class Found:
    """What a path names. ``files``: path below ``name`` → upload; a single file has path ''."""

    name: str
    files: Mapping[str, Upload]

    def refs(self, unpack: bool) -> tuple[InputRef, ...]:
        """Return the inputs, at the path's base name in the workspace.

        With ``unpack`` a single archive becomes the folder of its name.
        """
        if unpack and self.archive:
            return (InputRef("upload", self.files[""].id, self.place(unpack), True),)
        return tuple(
            InputRef("upload", one.id, f"{self.name}/{path}" if path else self.name)
            for path, one in self.files.items()
        )

    def place(self, unpack: bool) -> str:
        """Return where it lies in the workspace."""
        if not (unpack and self.archive):
            return self.name
        return self.name[: -len(self._suffix())] or self.name

    @property
    def archive(self) -> bool:
        """Whether it is one file that can be unpacked."""
        return "" in self.files and bool(self._suffix())

    def _suffix(self) -> str:
        return next((s for s in ARCHIVES if self.name.lower().endswith(s)), "")


def find(deps: Deps, principal: Principal, path: str) -> Found:
    """Return what a path names: of the account's uploads the file of exactly that key, the files
    below it, or the one file or folder of its base name, the newest of each; else what a directory
    that the operator granted has there.

    Raises:
        NotFound: nothing. InvalidInput: not a plain path, or several things have that base name.
        TooLarge: a folder with too many files.
    """
    key = uploads.key_of(path.rstrip("/"))
    base = key.rsplit("/", 1)[-1]

    def load(tx: Tx) -> tuple[list[Upload], list[Upload]]:
        mine = principal.account_id
        return tx.files.find_uploads(mine, key), tx.files.uploads_below(mine, key, MAX_FILES + 1)

    same, below = deps.store.read(load)
    if same:
        return Found(base, {"": same[0]})
    if below:
        return Found(base, _below(below, key))
    found = _by_name(uploads.newest_of(deps, principal.account_id), base)
    files = found.files if found is not None else _granted(deps, principal, key)
    if not files:
        raise NotFound(f"There is no upload {key!r}.")
    return Found(base, files)


def _granted(deps: Deps, principal: Principal, key: str) -> dict[str, Upload]:
    """Copy what a granted directory has under ``key``, as uploads that no path finds again."""
    if deps.roots is None:
        return {}
    principal.need(Right.WRITE)
    account = deps.store.read(lambda tx: tx.people.get_account(principal.account_id))
    out: dict[str, Upload] = {}
    for path, file in deps.roots.files(account.name, key, MAX_FILES + 1):
        if len(out) == MAX_FILES:
            raise _too_many(key)
        out[check_path(path) if path else ""] = uploads.take(deps, principal, key, file)
    return out


def _by_name(newest: Mapping[str, Upload], base: str) -> Found | None:
    files = [p for p in newest if p.rsplit("/", 1)[-1] == base]
    folders = {
        folder for p in newest for folder in _parents(p) if folder.rsplit("/", 1)[-1] == base
    }
    named = sorted({*files, *folders})
    if len(named) > 1:
        listed = ", ".join(named[:10])
        raise InvalidInput(f"Several uploads are named {base!r}: {listed}. Write the whole path.")
    if not named:
        return None
    if files:
        return Found(base, {"": newest[named[0]]})
    folder = named[0]
    return Found(
        base, _below([u for u in newest.values() if u.path.startswith(folder + "/")], folder)
    )


def _below(found: list[Upload], folder: str) -> dict[str, Upload]:
    out: dict[str, Upload] = {}
    for one in found:
        out.setdefault(one.path[len(folder) + 1 :], one)
    if len(found) > MAX_FILES:
        raise _too_many(folder)
    return dict(sorted(out.items()))


def _too_many(folder: str) -> TooLarge:
    return TooLarge(
        f"The folder {folder!r} has more than {MAX_FILES} files; send it as one archive.",
        limit_files=MAX_FILES,
    )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
