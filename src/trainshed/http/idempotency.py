"""Idempotency-Key: the first answer to a creating POST is kept and given again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trainshed.domain.errors import IdempotencyConflict, InvalidInput
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.records import Remembered
from trainshed.ports.store import Tx

HEADER = "idempotency-key"
MAX_KEY = 255
#: An entry still in flight after this long belongs to a server that died.
DEAD_AFTER = timedelta(seconds=60)

Handler = Callable[[], Awaitable[Response]]


class Idempotency:
    """Answers are kept sealed: some hold a secret that is shown once."""

    def __init__(self, deps: Deps) -> None:
        """Begin with nothing in flight here."""
        self._deps = deps
        self._here: set[tuple[str, str]] = set()

    async def once(
        self, request: Request, principal: Principal, body: bytes, handler: Handler
    ) -> Response:
        """Run ``handler``, or give the first answer to the same request again.

        Raises:
            IdempotencyConflict: the key was used for another request, or its first use runs now.
        """
        given = request.headers.get(HEADER)
        if given is None:
            return await handler()
        key = _key(given, principal)
        fingerprint = _fingerprint(request, body)
        now = self._deps.clock.utc_now()
        entry = Remembered(principal.account_id, key, fingerprint, 0, b"", now)
        known = await self._claim(entry)
        if known is not None:
            return self._again(known)
        mine = (principal.account_id, key)
        request.state.once = entry.once
        self._here.add(mine)
        try:
            response = await handler()
            await self._done(mine, response)
            return response
        except BaseException:
            await self._write(lambda tx: tx.records.forget(*mine))
            raise
        finally:
            self._here.discard(mine)

    async def _claim(self, mine: Remembered) -> Remembered | None:
        now = mine.created_at
        ttl = timedelta(seconds=self._deps.policy.idempotency_ttl_s)
        running_here = (mine.account_id, mine.key) in self._here

        def apply(tx: Tx) -> Remembered | None:
            known = tx.records.remember(mine)
            if known is None:
                return None
            age = now - known.created_at
            dead = known.status == 0 and age > DEAD_AFTER and not running_here
            if dead or age > ttl:
                tx.records.forget(mine.account_id, mine.key)
                return tx.records.remember(mine)
            return known

        known: Remembered | None = await self._write(apply)
        if known is None:
            return None
        if known.fingerprint != mine.fingerprint:
            raise IdempotencyConflict(
                "This Idempotency-Key was used for another request; use a new one."
            )
        if known.status == 0:
            raise IdempotencyConflict(
                "The first request with this Idempotency-Key is still running; try again.",
                in_flight=True,
                retry_after_s=1,
            )
        return known

    async def _done(self, mine: tuple[str, str], response: Response) -> None:
        """Keep an answer that made something; of others nothing is kept, so they can be retried."""
        if not 200 <= response.status_code < 300:
            await self._write(lambda tx: tx.records.forget(*mine))
            return
        kept = self._deps.secrets.seal(bytes(response.body))
        status = response.status_code
        await self._write(lambda tx: tx.records.complete(*mine, status, kept))

    def _again(self, known: Remembered) -> Response:
        body = self._deps.secrets.unseal(known.body)
        headers = {"Idempotency-Replayed": "true"}
        return Response(body, known.status, headers, "application/json")

    async def _write(
        self, fn: Callable[[Tx], Remembered | None] | Callable[[Tx], None]
    ) -> Remembered | None:
        return await asyncio.wrap_future(self._deps.store.submit(fn))


def _key(given: str, principal: Principal) -> str:
    """Return the stored key: one credential's keys never meet another's."""
    if not 1 <= len(given) <= MAX_KEY or not given.isascii() or not given.isprintable():
        raise InvalidInput(
            f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.", field=HEADER
        )
    return hashlib.sha256(f"{principal.id}:{given}".encode()).hexdigest()


def _fingerprint(request: Request, body: bytes) -> str:
    target = msgspec.json.encode([request.method, request.url.path, request.url.query])
    return hashlib.sha256(target + b"\0" + body).hexdigest()
