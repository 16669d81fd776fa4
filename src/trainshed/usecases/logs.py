"""Logs by byte offset: the same address works live and after the end, sealed or not (law 9)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.streams import LOG_STREAMS, LogChunk, Mark, Sealed, StreamInfo
from trainshed.ports.views import LogSlice
from trainshed.usecases.attempts import live
from trainshed.usecases.engine import Engine
from trainshed.usecases.queries import owned

MAX_SLICE = 4 * 1024**2
TAIL_STEP = 256 * 1024
SEAL_AT = 4 * 1024**2
#: A log this short stays in its rows: a blob for each would cost more than it saves.
SMALL = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Found:
    attempt_id: str
    account_id: str
    number: int
    info: StreamInfo
    sealed: list[Sealed]
    chunks: list[LogChunk]


def read_log(
    deps: Deps,
    principal: Principal,
    job_id: str,
    stream: str,
    attempt: int | None,
    offset: int,
    limit: int,
) -> LogSlice:
    """Return bytes from ``offset``, at most ``limit`` (≤ 4 MiB), of the newest or the given
    Attempt.

    Raises:
        NotFound: no such Job, Attempt or stream. InvalidInput: a negative figure.
    """
    if stream not in LOG_STREAMS:
        raise InvalidInput(f"stream must be one of {', '.join(LOG_STREAMS)}.", field="stream")
    if offset < 0 or limit < 1:
        raise InvalidInput("offset must be at least 0 and limit at least 1.", field="offset")
    limit = min(limit, MAX_SLICE)
    found = deps.store.read(lambda tx: _find(tx, principal, job_id, stream, attempt, offset, limit))
    if found is None:
        return LogSlice(attempt or 0, stream, 0, 0, 0, False, b"")
    data = _join(deps, found, offset, limit)
    info = found.info
    return LogSlice(
        found.number, stream, offset, offset + len(data), info.size, info.truncated, data
    )


def tail_log(
    deps: Deps, principal: Principal, job_id: str, stream: str, attempt: int | None, lines: int
) -> LogSlice:
    """Return the last ``lines`` lines (within the last 4 MiB)."""
    probe = read_log(deps, principal, job_id, stream, attempt, 0, 1)
    start, data = probe.size, b""
    last = probe
    while start > 0 and len(data) < MAX_SLICE and data.count(b"\n") <= lines:
        step = min(TAIL_STEP, start)
        start -= step
        last = read_log(deps, principal, job_id, stream, probe.attempt or None, start, step)
        data = last.data + data
    kept = data.splitlines(keepends=True)[-lines:] if lines else []
    text = b"".join(kept)
    end = probe.size
    return LogSlice(last.attempt, stream, end - len(text), end, end, last.truncated, text)


def appending(
    engine: Engine, attempt_id: str, stream: str, offset: int, data: bytes
) -> Callable[[Tx], tuple[int, bool]]:
    """Return the transaction that appends a runner's chunk: (next offset, limit reached)."""
    now = engine.deps.clock.utc_now()
    limit = engine.deps.policy.log_limit_bytes

    def apply(tx: Tx) -> tuple[int, bool]:
        live(tx, attempt_id)
        if offset >= limit:
            tx.streams.truncate(attempt_id, stream)
            return limit, True
        room = data[: limit - offset]
        return tx.streams.append_log(attempt_id, stream, offset, room, now), False

    return apply


def seal(deps: Deps, account_id: str, attempt_id: str, stream: str, keep: int) -> int:
    """Move what is before the last ``keep`` bytes of a log into compressed blobs; return bytes
    moved.
    """
    moved = 0
    while True:
        part = deps.store.read(lambda tx: _next_part(tx, attempt_id, stream, keep))
        if not part:
            return moved
        data = b"".join(c.data for c in part)
        writer = deps.blobs.writer(account_id)
        writer.write(zlib.compress(data, 6))
        marks = [Mark(c.offset, c.at) for c in part]
        sealed = Sealed(part[0].offset, len(data), writer.commit(), marks)
        deps.store.write(_sealing(attempt_id, stream, sealed))
        moved += len(data)


def _sealing(attempt_id: str, stream: str, part: Sealed) -> Callable[[Tx], None]:
    return lambda tx: tx.streams.seal(attempt_id, stream, part)


def _next_part(tx: Tx, attempt_id: str, stream: str, keep: int) -> list[LogChunk]:
    """Return whole chunks of about ``SEAL_AT`` bytes; a part that cut one would move its times."""
    info = next((i for i in tx.streams.info(attempt_id) if i.stream == stream), None)
    if info is None or info.size - info.sealed_to <= keep:
        return []
    chunks = tx.streams.read_log(attempt_id, stream, info.sealed_to, SEAL_AT)
    cut = sum(len(c.data) for c in chunks) == SEAL_AT and info.size > info.sealed_to + SEAL_AT
    return chunks[:-1] if cut else chunks


def _find(
    tx: Tx,
    principal: Principal,
    job_id: str,
    stream: str,
    number: int | None,
    offset: int,
    limit: int,
) -> _Found | None:
    job = owned(tx, principal, job_id)
    tried = tx.attempts.of_job(job_id)
    if number is not None:
        tried = [a for a in tried if a.number == number]
        if not tried:
            raise NotFound(f"The job has no attempt {number}.")
    if not tried:
        return None
    one = tried[-1]
    infos = [i for i in tx.streams.info(one.id) if i.stream == stream]
    info = infos[0] if infos else StreamInfo(stream, 0, False)
    sealed: list[Sealed] = []
    if offset < info.sealed_to:
        sealed = tx.streams.sealed(one.id, stream)
    chunks = tx.streams.read_log(one.id, stream, offset, limit)
    return _Found(one.id, job.account_id, one.number, info, sealed, chunks)


def _join(deps: Deps, found: _Found, offset: int, limit: int) -> bytes:
    end = offset + limit
    parts: list[bytes] = []
    for piece in found.sealed:
        stop = piece.offset + piece.length
        if stop <= offset or piece.offset >= end:
            continue
        data = zlib.decompress(deps.blobs.read(found.account_id, piece.blob.md5))
        parts.append(data[max(0, offset - piece.offset) : end - piece.offset])
    parts.extend(chunk.data for chunk in found.chunks)
    return b"".join(parts)[:limit]
