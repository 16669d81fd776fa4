"""Files that Jobs left: one by its path, or a folder as a zip made while it is sent (D8)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from trainshed.domain.artifact import Artifact, ArtifactKind, FileRef, check_path
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.queries import owned
from trainshed.usecases.uploads import Ticket, expiry, open_ticket, sign

OUTPUTS = "outputs/"
BLOCK = 256 * 1024
LISTED = 50


@dataclass(frozen=True, slots=True)
class Link:
    """A signed URL's token; ``size_bytes`` is None for a zip, which is made while it is sent."""

    token: str
    expires_at: datetime
    filename: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Content:
    """What a link leads to: one file, or several as a zip."""

    account_id: str
    filename: str
    files: Mapping[str, FileRef]
    zipped: bool

    @property
    def file(self) -> FileRef:
        """The one file of what is not a zip."""
        return next(iter(self.files.values()))


def create(deps: Deps, principal: Principal, job_id: str, path: str | None) -> Link:
    """Make a link to a Job's file, folder, or (None) everything. Raises as ``content_of``."""
    content = content_of(deps, principal, job_id, path)
    ends = expiry(deps)
    ticket = Ticket("GET", principal.account_id, job_id, int(ends.timestamp()), None, path)
    size = None if content.zipped else content.file.blob.size_bytes
    return Link(sign(deps, ticket), ends, content.filename, size)


def content_of(deps: Deps, principal: Principal, job_id: str, path: str | None) -> Content:
    """Return a Job's file, folder, or (None) everything.

    Raises:
        NotFound: no such Job or path; lists what there is. InvalidInput: a bad path.
    """

    def load(tx: Tx) -> list[Artifact]:
        owned(tx, principal, job_id)
        return tx.files.artifacts(job_id)

    return _pick(job_id, principal.account_id, deps.store.read(load), path)


def open_link(deps: Deps, token: str) -> Content:
    """Return what a signed GET leads to now.

    Raises:
        NotAllowed: the link. NotFound: the Job or file has gone since.
    """
    ticket = open_ticket(deps, token, "GET")

    def load(tx: Tx) -> list[Artifact]:
        tx.jobs.get(ticket.object_id, ticket.account_id)
        return tx.files.artifacts(ticket.object_id)

    found = deps.store.read(load)
    return _pick(ticket.object_id, ticket.account_id, found, ticket.path)


def open_file(deps: Deps, content: Content) -> BinaryIO:
    """Open the one file. Raises NotFound, while there is still time for an error."""
    return deps.blobs.open(content.account_id, content.file.blob.md5)


def read_range(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """Yield ``length`` bytes from ``start`` and close the file.

    All of the file is read, since only its end tells whether it is damaged; the last block is held
    back until then, so that damaged content breaks off (G16). Blocks outside are yielded empty.

    Raises:
        DigestConflict: the content is damaged.
    """
    with file:
        at, held = 0, b""
        while block := file.read(BLOCK):
            part = block[max(0, start - at) : max(0, start + length - at)]
            at += len(block)
            yield held if part else b""
            held = part or held
        yield held


def read_zip(deps: Deps, content: Content) -> Iterator[bytes]:
    """Yield a zip of the files, stored uncompressed, while reading them: memory stays flat."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as out:
        for name, ref in content.files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if ref.executable else 0o644) << 16
            with (
                deps.blobs.open(content.account_id, ref.blob.md5) as file,
                out.open(entry, "w", force_zip64=ref.blob.size_bytes >= 2**31) as target,
            ):
                for block in _blocks(file):
                    target.write(block)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()


class _Pipe:
    """A file that cannot seek; what was written to it is taken out block by block."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered below."""

    def close(self) -> None:
        """Nothing is open below."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _pick(job_id: str, account_id: str, found: list[Artifact], path: str | None) -> Content:
    outputs = _outputs(found)
    files = {**_checkpoints(found), **outputs}
    wanted = "" if path is None else path.removeprefix("./").strip("/")
    named = wanted == "outputs" and not _below(files, wanted) and wanted not in files
    if not wanted or named:
        if not outputs:
            raise _missing(wanted, files)
        return Content(account_id, f"{job_id}.zip", outputs, True)
    check_path(wanted)
    for name in (wanted, wanted.removeprefix(OUTPUTS)):
        if name in files:
            return Content(account_id, name.rsplit("/", 1)[-1], {name: files[name]}, False)
        if below := _below(files, name):
            return Content(account_id, name.rsplit("/", 1)[-1] + ".zip", below, True)
    raise _missing(wanted, files)


def _below(files: Mapping[str, FileRef], folder: str) -> dict[str, FileRef]:
    return {n: f for n, f in files.items() if n.startswith(folder + "/")}


def _missing(wanted: str, files: Mapping[str, FileRef]) -> NotFound:
    listed = sorted(files)[:LISTED]
    if not listed:
        return NotFound("The job has left no files (yet).", available=[])
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    named = f"no file or folder {wanted!r}" if wanted else "no output (yet)"
    words = f"The job has {named}. There is: {', '.join(listed)}{more}."
    return NotFound(words, available=listed)


def _outputs(found: list[Artifact]) -> dict[str, FileRef]:
    """Return the newest output set by path.

    Paths are checked here too, at the sink: what is not plain is not served, wherever it came
    from.
    """
    sets = [a for a in found if a.kind is ArtifactKind.ARTIFACT]
    return {f.path: f for f in (sets[-1].files if sets else ()) if _plain(f.path)}


def _checkpoints(found: list[Artifact]) -> dict[str, FileRef]:
    """Return the files of every checkpoint below ``checkpoints/<artifact id>/``."""
    return {
        f"checkpoints/{one.id}/{f.path}": f
        for one in found
        if one.kind is ArtifactKind.CHECKPOINT
        for f in one.files
        if _plain(f.path)
    }


def _plain(path: str) -> bool:
    try:
        check_path(path)
    except InvalidInput:
        return False
    return True
