"""Money, people, keys and files."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from trainshed.dialects.middleman import money, schema, translate
from trainshed.dialects.middleman.parameters import KEY_PREFIX, Limit, Offset
from trainshed.domain import people
from trainshed.domain.errors import Conflict, NotFound
from trainshed.domain.ledger import Unit
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Call, Called
from trainshed.usecases import accounts, downloads, keys, login, queries, uploads

SHORTEST = 8


def get_balance(call: Called) -> schema.Balance:
    """Show what the account has."""
    found = accounts.balances(call.deps, call.principal)
    return money.to_balance(next(b for b in found if b.unit is Unit.CREDIT))


def list_packages(call: Called) -> schema.Packages:
    """List what credits cost."""
    return schema.Packages(packages=[money.to_package(p) for p in call.deps.policy.packages])


def list_transactions(call: Called, limit: Limit = 20, offset: Offset = 0) -> schema.Transactions:
    """List how the balance moved, newest first."""
    rows, total = queries.entries_from(call.deps, call.principal, Unit.CREDIT, offset, limit)
    return schema.Transactions(data=[money.to_transaction(r) for r in rows], total=total)


def get_me(call: Called) -> schema.Me:
    """Show who is calling."""
    user, _ = login.whoami(call.deps, call.principal)
    return money.to_me(user, call.principal)


def list_keys(call: Called) -> list[schema.Key]:
    """List the keys of this door."""
    return [money.to_key(k) for k in _keys(call)]


def create_key(call: Called, body: schema.KeyBody) -> schema.NewKey:
    """Make a key; it is shown this once."""
    wanted = keys.NewKey(
        body.name, tuple(dict.fromkeys(body.scopes)), body.expires_in_days, prefix=KEY_PREFIX
    )
    made = keys.create(call.deps, call.principal, wanted)
    return schema.NewKey(**money.to_key(made.key).model_dump(), key=made.secret or "")


def revoke_key(call: Called, key_id: str) -> schema.Revoked:
    """End a key, named by its id, a beginning of it, or the prefix that lists show."""
    name = key_id.strip().rstrip(".…").lower()
    found = [k for k in _keys(call) if len(name) >= SHORTEST and _named(k, name)]
    if not found:
        raise NotFound("There is no key with that id.")
    if len(found) > 1:
        raise Conflict("Several keys have ids that begin so; write more of it.")
    keys.revoke(call.deps, call.principal, found[0].id)
    return schema.Revoked(revoked=True)


def _keys(call: Call) -> list[people.Key]:
    found = keys.list_keys(call.deps, call.principal)
    return [v.key for v in found if v.key.prefix == KEY_PREFIX]


def _named(key: people.Key, name: str) -> bool:
    plain = key.id.partition("_")[2]
    shown = money.key_prefix(key)
    return plain.startswith(name.replace("-", "")) or shown == name


def create_upload(
    call: Called,
    body: schema.UploadBody,
    job_id: Annotated[str | None, Query(max_length=64)] = None,
) -> schema.UploadUrl:
    """Announce a file; PUT its bytes to the URL, once, without a key."""
    path = body.filename
    if job_id is not None:
        prefix = translate.id_prefix("job", job_id)
        found = queries.find_job(call.deps, call.principal, prefix, translate.DIALECT)
        path = f"jobs/{translate.public_id(found)}/{uploads.key_of(path)}"
    slot = uploads.create(call.deps, call.principal, path, body.size_bytes)
    return schema.UploadUrl(
        upload_url=call.signed_url(slot.token),
        blob_path=slot.upload.path,
        expires_at=slot.expires_at,
    )


def create_download(call: Called, body: schema.DownloadBody) -> schema.DownloadUrl:
    """Make a link to a file or folder that a job left, or to everything as a zip."""
    prefix = translate.id_prefix("job", body.job_id)
    job_id = queries.find_job(call.deps, call.principal, prefix, translate.DIALECT)
    link = downloads.create(call.deps, call.principal, job_id, body.path)
    return schema.DownloadUrl(
        download_url=call.signed_url(link.token),
        expires_at=link.expires_at,
        size_bytes=link.size_bytes,
    )


SMALL = schema.SMALL_BYTES
ROUTES = [
    Route("GET", "/billing/balance", get_balance, READ),
    Route("GET", "/billing/packages", list_packages, READ),
    Route("GET", "/billing/transactions", list_transactions, READ),
    Route("GET", "/users/me", get_me, READ),
    Route("GET", "/api-keys", list_keys, READ),
    Route("POST", "/api-keys", create_key, WRITE, 201, body_limit=SMALL, idempotent=True),
    Route("DELETE", "/api-keys/{key_id}", revoke_key, WRITE),
    Route("POST", "/data/upload-url", create_upload, WRITE, 201, body_limit=SMALL, idempotent=True),
    Route("POST", "/data/download-url", create_download, READ, 201, body_limit=SMALL),
]
