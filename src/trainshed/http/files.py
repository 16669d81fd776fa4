"""Files that Jobs left, on their way out: whole, a range, or several as a zip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from trainshed.http.errors import RangeNotSatisfiable
from trainshed.ports.deps import Deps
from trainshed.usecases import downloads
from trainshed.usecases.downloads import Content

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


async def answer(request: Request, deps: Deps, content: Content) -> Response:
    """Return the content as it was asked for.

    Raises:
        NotFound: its bytes are gone. RangeNotSatisfiable: the asked range begins beyond the end.
    """
    headers = headers_of(content.filename)
    if content.zipped:
        body = downloads.read_zip(deps, content)
        return _stream(request, body, 200, headers, "application/zip")
    return await _one(request, deps, content, headers)


async def _one(request: Request, deps: Deps, content: Content, headers: dict[str, str]) -> Response:
    size, tag = content.file.blob.size_bytes, f'"{content.file.blob.sha256}"'
    headers |= {"Accept-Ranges": "bytes", "ETag": tag}
    asked = None
    if request.headers.get("if-range", tag) == tag:
        asked = _range(request.headers.get("range"), size)
    start, length = asked or (0, size)
    headers["Content-Length"] = str(length)
    if asked:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    file = await run_in_threadpool(downloads.open_file, deps, content)
    body = downloads.read_range(file, start, length)
    return _stream(request, body, 206 if asked else 200, headers, "application/octet-stream")


def _stream(
    request: Request, body: Iterator[bytes], status: int, headers: dict[str, str], media: str
) -> Response:
    if request.method == "HEAD":
        return Response(None, status, headers, media)
    return StreamingResponse(body, status, headers, media)


def _range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, length) of a single range; what is not understood is the whole file.

    Raises:
        RangeNotSatisfiable: it begins beyond the end.
    """
    found = _RANGE.match(text or "")
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size - 1
    else:
        start, end = int(found[1]), int(found[2] or size - 1)
        if found[2] and end < start:
            return None
    if start >= size or (found[1] == "" and int(found[2]) == 0):
        raise RangeNotSatisfiable(f"The file has {size} bytes.", size_bytes=size)
    return start, min(end, size - 1) - start + 1


def headers_of(filename: str) -> dict[str, str]:
    """Return headers that keep a user's file from ever being shown as a page of ours."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in filename)
    full = quote(filename, safe="")
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{full}",
        "Content-Security-Policy": "sandbox",
    }
