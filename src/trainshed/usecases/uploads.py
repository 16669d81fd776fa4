"""Files that users send: announced, sent once to a signed URL, found again by their key (D8,
D14).
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import BinaryIO

import msgspec

from trainshed.domain.artifact import BlobRef, check_path
from trainshed.domain.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
)
from trainshed.domain.people import Principal, Right
from trainshed.ports.blobs import BlobWriter
from trainshed.ports.deps import Deps
from trainshed.ports.paging import After
from trainshed.ports.store import Tx, Upload

MAX_TOKEN = 8192
#: How far back a base name is looked for when no upload has exactly the asked key.
SEARCH_ROWS = 10_000
SEARCH_PAGE = 500
#: Copies of the operator's files lie below this, so that the next Job gets them anew.
GRANTED = ".granted"
BLOCK = 1024**2


class Ticket(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a signed URL stands for; every part is under the signature.

    ``size`` is what a PUT must bring; ``md5`` and ``sha256`` what its bytes must hash to, if the
    user said so. ``path`` is what a GET asks for.
    """

    method: str
    account_id: str
    object_id: str
    expires: int
    size: int | None = None
    path: str | None = None
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """An announced upload and the token of the URL that takes its bytes."""

    upload: Upload
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Receiving:
    """An upload in progress."""

    upload: Upload
    ticket: Ticket
    writer: BlobWriter


def sign(deps: Deps, ticket: Ticket) -> str:
    """Return the URL token of a ticket."""
    text = base64.urlsafe_b64encode(msgspec.json.encode(ticket)).decode().rstrip("=")
    return f"{text}.{deps.secrets.sign(b'presigned:' + text.encode())}"


def open_ticket(deps: Deps, token: str, method: str) -> Ticket:
    """Return the ticket of an untouched, unexpired token for ``method``.

    Raises:
        NotAllowed: changed, expired, for another method, or its account is disabled.
    """
    text, _, signature = token.partition(".")
    message = b"presigned:" + text.encode("utf-8", "replace")
    if len(token) > MAX_TOKEN or not deps.secrets.verify(message, signature):
        raise NotAllowed("This link is not valid; ask for a new one.")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        ticket = msgspec.json.decode(raw, type=Ticket)
    except (binascii.Error, msgspec.DecodeError) as error:
        raise NotAllowed("This link is not valid; ask for a new one.") from error
    if ticket.method != method:
        raise NotAllowed(f"This link is for {ticket.method} only.")
    if deps.clock.utc_now().timestamp() >= ticket.expires:
        raise NotAllowed("This link has expired; ask for a new one.")
    account = deps.store.read(lambda tx: tx.people.get_account(ticket.account_id))
    if account.disabled_at is not None:
        raise NotAllowed("This link is not valid any more.")
    return ticket


def expiry(deps: Deps) -> datetime:
    """Return when a link made now ends."""
    return deps.clock.utc_now() + timedelta(seconds=min(deps.policy.presign_ttl_s, 900))


def create(
    deps: Deps,
    principal: Principal,
    path: str,
    size_bytes: int,
    md5: str | None = None,
    sha256: str | None = None,
) -> Slot:
    """Announce a file.

    Raises:
        InvalidInput: a bad path. TooLarge, QuotaExceeded, StorageFull: no room for it.
    """
    principal.need(Right.WRITE)
    key = key_of(path)
    if size_bytes > deps.policy.max_upload_bytes:
        limit = deps.policy.max_upload_bytes
        raise TooLarge(f"One file may have {limit} bytes.", limit_bytes=limit)
    account_id, ends = principal.account_id, expiry(deps)
    check_room(deps, account_id, size_bytes)
    now = deps.clock.utc_now()
    made = Upload(deps.ids.new("upload"), account_id, key, size_bytes, now)
    deps.store.write(lambda tx: tx.files.insert_upload(made))
    ticket = Ticket(
        "PUT", account_id, made.id, int(ends.timestamp()), size_bytes, None, md5, sha256
    )
    return Slot(made, sign(deps, ticket), ends)


def receive(deps: Deps, token: str, announced: int | None) -> Receiving:
    """Open the writer for a signed PUT.

    Raises:
        NotAllowed: the link. Conflict: its bytes came before. NotFound: deleted since.
        InvalidInput, TooLarge: another size than announced. QuotaExceeded, StorageFull.
    """
    ticket = open_ticket(deps, token, "PUT")
    upload = deps.store.read(lambda tx: tx.files.get_upload(ticket.object_id, ticket.account_id))
    if upload.completed_at is not None:
        raise Conflict("This upload is complete already; its link works once.")
    if announced is not None:
        check_size(upload, announced)
    check_room(deps, upload.account_id, upload.size_bytes)
    return Receiving(upload, ticket, deps.blobs.writer(upload.account_id))


def check_size(upload: Upload, size: int) -> None:
    """Raise TooLarge or InvalidInput unless exactly the announced bytes came."""
    want = upload.size_bytes
    if size > want:
        raise TooLarge(f"{want} bytes were announced; more came.", limit_bytes=want)
    if size < want:
        raise InvalidInput(f"{want} bytes were announced, {size} came; send the file again.")


def finish(deps: Deps, receiving: Receiving) -> Upload:
    """Publish what was written.

    Raises:
        DigestConflict: other bytes than announced. Conflict: another PUT was first.
    """
    ticket, upload = receiving.ticket, receiving.upload
    ref: BlobRef = receiving.writer.commit(ticket.md5, ticket.sha256)
    done = replace(upload, blob=ref, completed_at=deps.clock.utc_now())

    def apply(tx: Tx) -> None:
        tx.ledger.lock(upload.account_id)
        if tx.files.get_upload(upload.id, upload.account_id).completed_at is not None:
            raise Conflict("This upload is complete already; its link works once.")
        tx.files.save_upload(done)

    deps.store.write(apply)
    return done


def take(deps: Deps, principal: Principal, key: str, file: BinaryIO) -> Upload:
    """Copy a file of a granted directory, as an upload that no path finds (``GRANTED``).

    Raises:
        TooLarge, QuotaExceeded, StorageFull: no room for it.
    """
    account_id, now = principal.account_id, deps.clock.utc_now()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > deps.policy.max_upload_bytes:
        limit = deps.policy.max_upload_bytes
        raise TooLarge(f"One file may have {limit} bytes.", limit_bytes=limit)
    check_room(deps, account_id, size)
    writer, left = deps.blobs.writer(account_id), size
    try:
        while left and (block := file.read(min(BLOCK, left))):
            writer.write(block)
            left -= len(block)
        ref = writer.commit()
    finally:
        writer.abort()
    made = Upload(
        deps.ids.new("upload"), account_id, f"{GRANTED}/{key}", ref.size_bytes, now, ref, now
    )
    deps.store.write(lambda tx: tx.files.insert_upload(made))
    return made


def list_uploads(deps: Deps, principal: Principal, after: After | None, limit: int) -> list[Upload]:
    """Return the account's uploads, newest first."""
    return deps.store.read(lambda tx: tx.files.uploads(principal.account_id, after, limit))


def get(deps: Deps, principal: Principal, upload_id: str) -> Upload:
    """Return one upload."""
    return deps.store.read(lambda tx: tx.files.get_upload(upload_id, principal.account_id))


def delete(deps: Deps, principal: Principal, upload_id: str) -> None:
    """Forget an upload; `trainshed gc` removes content that nothing refers to."""
    principal.need(Right.WRITE)

    def apply(tx: Tx) -> None:
        tx.files.get_upload(upload_id, principal.account_id)
        tx.files.delete_upload(upload_id)

    deps.store.write(apply)


def resolve(deps: Deps, principal: Principal, path: str) -> Upload:
    """Return the upload that a user's path names: exact key, then unique base name; newest wins.

    Raises:
        NotFound: none, saying how to send it. InvalidInput: several files have that base name.
    """
    key = key_of(path)
    exact = deps.store.read(lambda tx: tx.files.find_uploads(principal.account_id, key))
    if exact:
        return exact[0]
    base = key.rsplit("/", 1)[-1]
    newest = {
        path: one
        for path, one in newest_of(deps, principal.account_id).items()
        if path.rsplit("/", 1)[-1] == base
    }
    if len(newest) == 1:
        return next(iter(newest.values()))
    if newest:
        names = ", ".join(sorted(newest)[:10])
        raise InvalidInput(f"Several uploads are named {base!r}: {names}.", field="path")
    raise NotFound(
        f"There is no upload {key!r}. Send it first: POST /v1/uploads with its path and"
        " size_bytes, then PUT its bytes to the url in the answer (or: trainshed upload FILE)."
    )


def newest_of(deps: Deps, account_id: str) -> dict[str, Upload]:
    """Return the newest complete upload of every path, as far back as is looked."""
    out: dict[str, Upload] = {}
    after: After | None = None
    for _ in range(SEARCH_ROWS // SEARCH_PAGE):
        page = deps.store.read(
            lambda tx, after=after: tx.files.uploads(account_id, after, SEARCH_PAGE)  # type: ignore[misc]
        )
        for one in page:
            if one.completed_at is not None and not one.path.startswith(f"{GRANTED}/"):
                out.setdefault(one.path, one)
        if len(page) < SEARCH_PAGE:
            break
        after = After(page[-1].created_at, page[-1].id)
    return out


def key_of(path: str) -> str:
    """Return the key that a user's path stands for: no leading ``/`` or ``./``, then plain."""
    return check_path(path.removeprefix("./").lstrip("/"))


def check_room(deps: Deps, account_id: str, size: int) -> None:
    """Raise QuotaExceeded or StorageFull unless ``size`` more bytes fit."""

    def load(tx: Tx) -> tuple[int, int | None]:
        account = tx.people.get_account(account_id)
        return tx.files.used_bytes(account_id), account.quota_bytes

    used, quota = deps.store.read(load)
    limit = deps.policy.default_quota_bytes if quota is None else quota
    if used + size > limit:
        raise QuotaExceeded(
            f"The account stores {used} of {limit} bytes and {size} more do not fit. Delete"
            " uploads (DELETE /v1/uploads/{id}) or ended jobs with their artifacts"
            " (DELETE /v1/jobs/{id}), or ask the operator for more.",
            used_bytes=used,
            limit_bytes=limit,
            needed_bytes=size,
        )
    if deps.blobs.free_bytes() - size < deps.policy.min_free_bytes:
        raise StorageFull("The server's disk is nearly full; nothing new can be stored now.")
