"""Data: files up, files down, by signed addresses that carry their own grant."""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from middleman.api.base import Family
from middleman.errors import MiddlemanError, TransferError, as_ours
from middleman.models import DownloadUrl, UploadUrl, read
from trainshed_client.files import landing, landing_place
from trainshed_client.folder import scan

_CHUNK = 256 * 1024
_TYPES = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".json": "application/json",
    ".py": "text/x-python",
    ".tar": "application/x-tar",
    ".yaml": "application/x-yaml",
    ".yml": "application/x-yaml",
    ".zip": "application/zip",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Told while a file travels: bytes so far, and bytes in all (None if unknown).
Watch = Callable[[int, int | None], None]


class Data(Family):
    """Files for jobs, and files from jobs."""

    def get_upload_url(
        self, filename: str, content_type: str, size_bytes: int, job_id: str | None = None
    ) -> UploadUrl:
        """Return where to PUT a file of exactly ``size_bytes``."""
        body = {"filename": filename, "content_type": content_type, "size_bytes": size_bytes}
        return read(UploadUrl, self._create("/data/upload-url", body, job_id=job_id))

    def get_download_url(self, job_id: str, path: str | None = None) -> DownloadUrl:
        """Return where to GET a file of a job; without ``path``, or for a folder, a zip.

        Raises:
            NotFoundError: no such file; the detail lists what there is.
        """
        body = {"job_id": job_id, "path": path}
        return read(DownloadUrl, self._create("/data/download-url", body))

    def upload_file(
        self,
        local_path: str | Path,
        job_id: str | None = None,
        *,
        on_progress: Watch | None = None,
    ) -> str:
        """Send a file, read from disk as it goes, and return the path that names it for jobs.

        A folder goes as one zip, without what its ``.trainshedignore`` (gitignore rules) leaves
        out; links are not followed.

        Raises:
            FileNotFoundError: there is no such file.
        """
        source = Path(local_path)
        if source.is_dir():
            with tempfile.TemporaryFile(prefix="middleman-") as packed:
                size = _pack(source, packed)
                return self._send(packed, f"{source.resolve().name}.zip", size, job_id, on_progress)
        if not source.is_file():
            raise FileNotFoundError(f"{source} is not a file or folder.")
        with source.open("rb") as file:
            return self._send(file, source.name, source.stat().st_size, job_id, on_progress)

    def _send(
        self, file: BinaryIO, name: str, size: int, job_id: str | None, watch: Watch | None
    ) -> str:
        kind = _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
        slot = self.get_upload_url(name, kind, size, job_id)
        self._transport.put(slot.upload_url, _read(file, name, size, watch), size, kind)
        return slot.blob_path

    def download(
        self,
        job_id: str,
        path: str | None = None,
        to: str | Path = ".",
        *,
        on_progress: Watch | None = None,
    ) -> Path:
        """Save a file of a job (a zip of everything, without ``path``) and return where it is.

        The bytes go to a temporary file beside the target, are checked against the size and the
        SHA-256 that the server tells, and take the name only then. Zips are not unpacked.

        Args:
            job_id: The job.
            path: The file or folder, such as ``outputs/model.pt``.
            to: A folder, or the name to save as.
            on_progress: Called as bytes come in.

        Raises:
            NotFoundError: no such file; the detail lists what there is.
            TransferError: what came is not what was announced.
        """
        link = self.get_download_url(job_id, path)
        return self._transport.patiently(lambda: self._save(link, path, Path(to), on_progress))

    def _save(self, link: DownloadUrl, path: str | None, to: Path, watch: Watch | None) -> Path:
        with self._transport.fetch(link.download_url) as (headers, chunks):
            size = link.size_bytes
            if size is None and headers.get("content-length", "").isdecimal():
                size = int(headers["content-length"])
            digest = link.sha256 or headers.get("etag", "").strip('"')
            with as_ours():
                place = landing_place(to, _name(path, headers.get("content-type", "")))
            with landing(place) as file:
                sha256, done = hashlib.sha256(), 0
                for chunk in chunks:
                    file.write(chunk)
                    sha256.update(chunk)
                    done += len(chunk)
                    if watch is not None:
                        watch(done, size)
                if size is not None and done != size:
                    raise TransferError(f"{done} bytes came where {size} were announced.")
                if _SHA256.fullmatch(digest) and sha256.hexdigest() != digest:
                    raise TransferError("What came is not the file the job wrote.")
        return place


def _name(path: str | None, kind: str) -> str:
    """Return what a download is called where the caller names only a folder."""
    name = PurePosixPath(path or "").name or "outputs"
    zipped = kind.partition(";")[0].strip() == "application/zip"
    return f"{name}.zip" if zipped and not name.endswith(".zip") else name


def _pack(folder: Path, target: BinaryIO) -> int:
    """Write a zip of ``folder`` to ``target``, rewind it and return its size.

    Raises:
        MiddlemanError: there is nothing in it, or a name that no zip can hold.
    """
    with as_ours():
        found = scan(folder)
    if not found.files:
        raise MiddlemanError(f"There is nothing to upload in {folder}.")
    try:
        with zipfile.ZipFile(
            target, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
        ) as packed:
            for file in found.files:
                packed.write(file.local, file.path)
    except UnicodeEncodeError as error:
        raise MiddlemanError(f"A file name in {folder} is not valid UTF-8.") from error
    size = target.tell()
    target.seek(0)
    return size


def _read(file: BinaryIO, name: str, size: int, watch: Watch | None) -> Iterator[bytes]:
    """Yield exactly ``size`` bytes."""
    sent = 0
    while sent < size:
        chunk = file.read(min(_CHUNK, size - sent))
        if not chunk:
            raise TransferError(f"{name} became shorter while it was sent.")
        yield chunk
        sent += len(chunk)
        if watch is not None:
            watch(sent, size)
