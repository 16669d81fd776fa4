"""Files: announced and fetched by keyed routes, moved by signed URLs."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trainshed.dialects.native import answers, schema, translate
from trainshed.dialects.native.parameters import Cursor, Limit, UploadRef, after, following
from trainshed.domain.errors import InvalidInput, TooLarge
from trainshed.domain.ids import parse_id
from trainshed.http import files
from trainshed.http.entry import announced
from trainshed.http.errors import UnsupportedMediaType
from trainshed.http.guards import PUBLIC, READ, WRITE, Route
from trainshed.http.hall import Call, Called
from trainshed.usecases import downloads, uploads
from trainshed.usecases.uploads import Receiving

BLOCK = 1024**2
IDLE_S = 60.0


def create_upload(call: Called, body: schema.UploadBody) -> answers.UploadTicket:
    """Announce a file; PUT its bytes to the url, once."""
    slot = uploads.create(
        call.deps, call.principal, body.path, body.size_bytes, body.md5, body.sha256
    )
    return answers.UploadTicket(
        id=slot.upload.id,
        path=slot.upload.path,
        url=call.signed_url(slot.token),
        expires_at=slot.expires_at,
    )


def list_uploads(
    call: Called, limit: Limit = 50, cursor: Cursor = None
) -> answers.Page[answers.Upload]:
    """List what was sent, newest first."""
    first = after(call, "uploads", cursor)
    found = uploads.list_uploads(call.deps, call.principal, first, limit)
    more = following(call, "uploads", found, limit)
    return answers.Page(items=[translate.to_upload(u) for u in found], next=more)


def get_upload(call: Called, upload_id: UploadRef) -> answers.Upload:
    """Show a sent file."""
    return translate.to_upload(uploads.get(call.deps, call.principal, upload_id))


def delete_upload(call: Called, upload_id: UploadRef) -> None:
    """Forget a sent file."""
    uploads.delete(call.deps, call.principal, upload_id)


def create_download(call: Called, body: schema.DownloadBody) -> answers.DownloadTicket:
    """Make a link to a Job's file, folder or everything."""
    job_id = parse_id("job", body.job_id)
    link = downloads.create(call.deps, call.principal, job_id, body.path)
    return answers.DownloadTicket(
        url=call.signed_url(link.token),
        expires_at=link.expires_at,
        size_bytes=link.size_bytes,
        filename=link.filename,
    )


async def put_signed(request: Request) -> Response:
    """Take the bytes of an upload."""
    call: Call = request.state.call
    deps = call.deps
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the bytes as they are, without Content-Encoding.")
    size = announced(request, deps.policy.max_upload_bytes)
    token = request.path_params["token"]
    receiving = await run_in_threadpool(uploads.receive, deps, token, size)
    try:
        with call.hall.streams.slot(f"put:{receiving.upload.account_id}"):
            await _receive(request, receiving)
            done = await run_in_threadpool(uploads.finish, deps, receiving)
    finally:
        receiving.writer.abort()
    shown = translate.to_upload(done).model_dump(
        include={"id", "path", "size_bytes", "md5", "sha256"}
    )
    return JSONResponse(shown, 201)


async def _receive(request: Request, receiving: Receiving) -> None:
    """Write what comes, a block at a time; memory stays flat."""
    seen, pending, want = 0, bytearray(), receiving.upload.size_bytes
    parts = request.stream()
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                part = await anext(parts, None)
            if part is None:
                break
            seen += len(part)
            if seen > want:
                raise TooLarge(f"{want} bytes were announced; more came.", limit_bytes=want)
            pending += part
            if len(pending) >= BLOCK:
                await run_in_threadpool(receiving.writer.write, bytes(pending))
                pending.clear()
    except TimeoutError as error:
        raise InvalidInput("Nothing came for a minute; send the file again.") from error
    except ClientDisconnect as error:
        raise InvalidInput("The sender went away.") from error
    uploads.check_size(receiving.upload, seen)
    if pending:
        await run_in_threadpool(receiving.writer.write, bytes(pending))


async def get_signed(request: Request) -> Response:
    """Give the bytes of a download."""
    call: Call = request.state.call
    token = request.path_params["token"]
    content = await run_in_threadpool(downloads.open_link, call.deps, token)
    return await files.answer(request, call.deps, content)


SMALL = schema.SMALL_BYTES
_BYTES_IN = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    },
    "summary": "Take the bytes of an upload; the URL comes from POST /v1/uploads.",
}
_BYTES_OUT = {
    "summary": "Give the bytes of a download; the URL comes from POST /v1/downloads.",
    "responses": {
        "200": {
            "description": "The bytes",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        },
        "206": {"description": "A range of them"},
    },
}
ROUTES = [
    Route("POST", "/uploads", create_upload, WRITE, 201, body_limit=SMALL, idempotent=True),
    Route("GET", "/uploads", list_uploads, READ),
    Route("GET", "/uploads/{upload_id}", get_upload, READ),
    Route("DELETE", "/uploads/{upload_id}", delete_upload, WRITE, 204),
    Route("POST", "/downloads", create_download, READ, 201, body_limit=SMALL),
    Route("PUT", "/signed/{token}", put_signed, PUBLIC, 201, raw=True, document=_BYTES_IN),
    Route("GET", "/signed/{token}", get_signed, PUBLIC, raw=True, document=_BYTES_OUT),
]
