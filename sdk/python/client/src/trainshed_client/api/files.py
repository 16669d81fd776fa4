"""Files in and out: uploads by signed PUT, downloads by signed GET."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx2

from trainshed_client.api.group import Group, items, pages, part
from trainshed_client.backoff import PASSING
from trainshed_client.decode import decode
from trainshed_client.errors import (
    DigestMismatch,
    InvalidInput,
    NotFound,
    TrainshedError,
    Unreachable,
)
from trainshed_client.files import landing, landing_place
from trainshed_client.folder import Folder, scan
from trainshed_client.models import Artifact, DownloadTicket, Upload, UploadTicket

PARALLEL = 4
_CHUNK = 256 * 1024


@dataclass(frozen=True)
class FileProgress:
    """Told while files go up: of ``path``, ``sent_bytes`` of ``size_bytes`` are sent."""

    path: str
    sent_bytes: int
    size_bytes: int


Watch = Callable[[FileProgress], None]


class Uploads(Group):
    """Files of the account, for Jobs to use as inputs."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[Upload]:
        """Yield the uploads, newest first, at most ``limit``."""
        return pages(self._transport, Upload, "/v1/uploads", limit=limit)

    async def get(self, upload_id: str) -> Upload:
        """Return one upload."""
        return decode(Upload, await self._transport.call("GET", f"/v1/uploads/{part(upload_id)}"))

    async def delete(self, upload_id: str) -> None:
        """Delete an upload; Jobs that have it keep their copy."""
        await self._transport.call("DELETE", f"/v1/uploads/{part(upload_id)}")

    async def upload_file(
        self, local: str | Path, path: str | None = None, *, on_progress: Watch | None = None
    ) -> Upload:
        """Send a file; ``path`` is its name on the server (its own name if None).

        The content is checked against its sha256 at the other end. A dropped connection is tried
        again, after asking whether the bytes had arrived after all.

        Raises:
            InvalidInput: there is no such file.
            QuotaExceeded: the account's storage is full.
            DigestConflict: the file changed while it was sent.
        """
        source = Path(local)
        if not source.is_file():
            raise InvalidInput(f"{source} is not a file.")
        size, sha256 = await asyncio.to_thread(_measure, source)
        name = path or source.name
        body = {"path": name, "size_bytes": size, "sha256": sha256}
        answer = await self._transport.call("POST", "/v1/uploads", body=body, creates=True)
        ticket = decode(UploadTicket, answer)
        failed = 0
        while True:
            try:
                return await self._put(ticket, source, name, size, on_progress)
            except TrainshedError as error:
                failed += 1
                passing = isinstance(error, Unreachable) or error.status in PASSING
                wait = self._transport.backoff.wait_s(failed, error.extra.get("retry_after_s"))
                if not passing or wait is None:
                    raise
            await self._transport.sleep(wait)
            done = await self.get(ticket.id)
            if done.completed_at is not None and done.sha256 == sha256:
                return done

    async def upload_folder(
        self,
        folder: str | Path | Folder = ".",
        *,
        prefix: str = "",
        ignore: Iterable[str] = (),
        on_progress: Watch | None = None,
    ) -> tuple[dict[str, Any], ...]:
        """Send every file of a folder, four at a time, and return them as ``inputs`` of a Job.

        Args:
            folder: Where it is, or what ``scan`` returned (to show sizes first). Rules of
                ``.trainshedignore`` apply; links are not followed.
            prefix: Put before every path, e.g. ``data/``.
            ignore: More gitignore patterns.
            on_progress: Called from the sending thread as bytes go out.
        """
        if isinstance(folder, Folder):
            found = folder
        else:
            found = await asyncio.to_thread(scan, folder, ignore=[*ignore])
        gate = asyncio.Semaphore(PARALLEL)

        async def send(local: Path, path: str) -> dict[str, Any]:
            async with gate:
                upload = await self.upload_file(local, path, on_progress=on_progress)
            return {"source": "upload", "ref": upload.id, "path": path, "unpack": False}

        jobs = [asyncio.ensure_future(send(f.local, prefix + f.path)) for f in found.files]
        try:
            return tuple(await asyncio.gather(*jobs))
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _put(
        self, ticket: UploadTicket, source: Path, path: str, size: int, watch: Watch | None
    ) -> Upload:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        content = _read(source, path, size, watch)
        put = self._transport.open(ticket.method, ticket.url, headers=headers, content=content)
        async with put as answer:
            return decode(Upload, _json(await answer.aread()))


class DownloadStream(Group):
    """An open download: ``chunks`` once, from the start."""

    def __init__(self, ticket: DownloadTicket, answer: httpx2.Response) -> None:
        self._answer = answer
        self.size_bytes = ticket.size_bytes
        self.filename = ticket.filename

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come."""
        async for chunk in self._answer.aiter_bytes(_CHUNK):
            yield chunk


class Downloads(Group):
    """Files that Jobs left."""

    async def create(self, job_id: str, path: str | None = None) -> DownloadTicket:
        """Return a signed address for a file of the Job, or for a zip of a folder or everything.

        Raises:
            NotFound: no such file; the detail lists what there is.
        """
        body = {"job_id": job_id, "path": path}
        answer = await self._transport.call("POST", "/v1/downloads", body=body, idempotent=True)
        return decode(DownloadTicket, answer)

    @asynccontextmanager
    async def open(self, job_id: str, path: str | None = None) -> AsyncIterator[DownloadStream]:
        """Open a download to read its bytes as they come; close it by leaving the ``with``."""
        ticket = await self.create(job_id, path)
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        async with self._transport.open("GET", ticket.url, headers=headers) as answer:
            yield DownloadStream(ticket, answer)

    async def save(
        self,
        job_id: str,
        path: str | None = None,
        target: str | Path = ".",
        *,
        on_progress: Watch | None = None,
    ) -> Path:
        """Save a file of the Job (or a zip, never unpacked) and return where it is.

        ``target`` is a folder, or the name to save as. The bytes go to a temporary file beside
        it, are checked (size, and sha256 where the Job's artifacts tell it) and take the name
        only then.

        Raises:
            NotFound: no such file.
            UnsafePath: the server suggests a name that leads elsewhere.
            DigestMismatch: the bytes are not what the artifact says.
        """
        known = await self._digests(job_id, path)
        failed = 0
        while True:
            try:
                async with self.open(job_id, path) as stream:
                    place = landing_place(Path(target), stream.filename)
                    await _store(stream, place, known, on_progress)
                    return place
            except TrainshedError as error:
                failed += 1
                passing = isinstance(error, Unreachable) or error.status in PASSING
                wait = self._transport.backoff.wait_s(failed, error.extra.get("retry_after_s"))
                if not passing or wait is None:
                    raise
            await self._transport.sleep(wait)

    async def _digests(self, job_id: str, path: str | None) -> frozenset[str]:
        """Return the sha256 sums a file of that name may have; none are known for a zip."""
        if path is None:
            return frozenset()
        wanted = {_key(path), _key(path).removeprefix("outputs/")}
        sums: set[str] = set()
        for what in ("artifacts", "checkpoints"):
            try:
                answer = await self._transport.call("GET", f"/v1/jobs/{part(job_id)}/{what}")
            except NotFound:
                continue
            files = (file for artifact in items(Artifact, answer) for file in artifact.files)
            sums |= {f.sha256 for f in files if f.sha256 and _key(f.path) in wanted}
        return frozenset(sums)


def _key(path: str) -> str:
    return str(PurePosixPath(path.lstrip("/")))


def _json(body: bytes) -> Any:
    import json

    try:
        return json.loads(body)
    except ValueError:
        return None


def _measure(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


async def _read(source: Path, path: str, size: int, watch: Watch | None) -> AsyncIterator[bytes]:
    """Yield exactly ``size`` bytes of ``source``; a file that changed is caught by its digest."""
    sent = 0
    with source.open("rb") as file:
        while sent < size:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, size - sent))
            if not chunk:
                raise InvalidInput(f"{source} became shorter while it was sent.")
            yield chunk
            sent += len(chunk)
            if watch is not None:
                watch(FileProgress(path, sent, size))
    if size == 0 and watch is not None:
        watch(FileProgress(path, 0, 0))


async def _store(
    stream: DownloadStream, place: Path, known: Sequence[str] | frozenset[str], watch: Watch | None
) -> None:
    digest, size = hashlib.sha256(), 0
    with landing(place) as file:
        async for chunk in stream.chunks():
            await asyncio.to_thread(file.write, chunk)
            digest.update(chunk)
            size += len(chunk)
            if watch is not None:
                watch(FileProgress(place.name, size, stream.size_bytes or 0))
        if stream.size_bytes is not None and size != stream.size_bytes:
            raise Unreachable(f"Only {size} of {stream.size_bytes} bytes came.")
        if known and digest.hexdigest() not in known:
            raise DigestMismatch(
                f"What came is not the file the Job wrote (sha256 {digest.hexdigest()[:12]}…)."
            )
