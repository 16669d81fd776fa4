"""Streams by offset, files and events, alike on both engines."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.integration.store.make import ACC, NOW, account, add, at, job, lease

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.errors import Conflict, InvalidInput, NotFound, OffsetMismatch
from trainshed.domain.events import Event
from trainshed.ports.paging import After
from trainshed.ports.store import Store, Tx, Upload
from trainshed.ports.streams import Mark, Point, Sealed, StreamInfo


@pytest.fixture
def held(store: Store) -> str:
    account(store)
    return lease(store, add(store, job(1))[0]).id


def append(store: Store, held: str, offset: int, data: bytes) -> int:
    return store.write(lambda tx: tx.streams.append_log(held, "stdout", offset, data, at(offset)))


def text(store: Store, held: str, offset: int = 0, limit: int = 10**9) -> bytes:
    chunks = store.read(lambda tx: tx.streams.read_log(held, "stdout", offset, limit))
    end = None
    for chunk in chunks:
        assert end in (None, chunk.offset)
        end = chunk.offset + len(chunk.data)
    return b"".join(c.data for c in chunks)


def test_chunks_land_once(store: Store, held: str) -> None:
    assert append(store, held, 0, b"hello ") == 6
    assert append(store, held, 0, b"hello ") == 6
    assert append(store, held, 3, b"lo world") == 11
    assert append(store, held, 4, b"x") == 11
    with pytest.raises(OffsetMismatch) as caught:
        append(store, held, 12, b"gap")
    assert caught.value.extra == {"next": 11}
    with pytest.raises(InvalidInput):
        append(store, held, -1, b"x")
    assert text(store, held) == b"hello world"
    assert text(store, held, 4, 3) == b"o w"
    assert text(store, held, 11) == b""
    store.write(lambda tx: tx.streams.truncate(held, "stdout"))
    store.write(lambda tx: tx.streams.truncate(held, "system"))
    assert store.read(lambda tx: tx.streams.info(held)) == [
        StreamInfo("stdout", 11, True), StreamInfo("system", 0, True),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        append(store, "att_none", 0, b"x")


def test_large_chunks_are_split_and_sealed(store: Store, held: str) -> None:
    whole = bytes(range(256)) * 1024
    assert append(store, held, 0, whole) == len(whole)
    assert text(store, held) == whole
    assert text(store, held, 65_530, 12) == whole[65_530:65_542]

    def seal(offset: int, length: int, md5: str = "a" * 32) -> None:
        part = Sealed(offset, length, BlobRef(md5, "b" * 64, 10))
        store.write(lambda tx: tx.streams.seal(held, "stdout", part))

    seal(0, 70_000)  # in the middle of a chunk
    for wrong in ((0, 10), (70_001, 5), (70_000, 10**6)):
        with pytest.raises(Conflict):
            seal(*wrong)
    assert text(store, held, 70_000) == whole[70_000:]
    seal(70_000, len(whole) - 70_000, "c" * 32)
    assert text(store, held) == b""
    parts = store.read(lambda tx: tx.streams.sealed(held, "stdout"))
    assert [(p.offset, p.length) for p in parts] == [(0, 70_000), (70_000, len(whole) - 70_000)]
    assert append(store, held, len(whole), b"more") == len(whole) + 4
    info = store.read(lambda tx: tx.streams.info(held))
    assert info == [StreamInfo("stdout", len(whole) + 4, False, len(whole))]
    assert store.read(lambda tx: tx.files.used_bytes(ACC)) == 20 + 4
    assert store.read(lambda tx: tx.files.blob_refs(ACC)) == {"a" * 32, "c" * 32}


def test_times_outlive_sealing_and_never_go_back(store: Store, held: str) -> None:
    for offset, second in ((0, 5), (4, 5), (8, 3), (12, 9)):
        send = lambda tx, o=offset, s=second: tx.streams.append_log(  # noqa: E731
            held, "stdout", o, b"a\nb\n", at(s)
        )
        store.write(send)
    store.write(lambda tx: tx.streams.append_log(held, "stderr", 0, b"x", at(1)))

    def marks(offset: int, limit: int) -> list[Mark]:
        return store.read(lambda tx: tx.streams.marks(held, "stdout", offset, limit))

    def came_by(moment: float) -> int:
        return store.read(lambda tx: tx.streams.came_by(held, "stdout", at(moment)))

    micro = timedelta(microseconds=1)
    every = marks(0, 100)
    assert every == [
        Mark(0, at(5)), Mark(4, at(5) + 3 * micro), Mark(8, at(5) + 6 * micro), Mark(12, at(9))
    ]  # fmt: skip
    looks = [(0, 100), (5, 1), (4, 4), (7, 2), (12, 1), (16, 5)]
    whens = [0, 5, 5.000003, 8, 9, 99]
    before = [marks(*look) for look in looks]
    assert before[1] == every[1:2]
    assert before[3] == every[1:3]
    assert [came_by(w) for w in whens] == [0, 0, 4, 8, 12, 12]
    for part in (every[:2], every[2:3]):
        blob = BlobRef("a" * 32, "b" * 64, 10)
        sealed = Sealed(part[0].offset, 4 * len(part), blob, part)
        store.write(lambda tx, s=sealed: tx.streams.seal(held, "stdout", s))
        assert [marks(*look) for look in looks] == before
        assert [came_by(w) for w in whens] == [0, 0, 4, 8, 12, 12]
    assert store.read(lambda tx: tx.streams.marks(held, "system", 0, 100)) == []


def test_racing_copies_of_one_log_land_once(store: Store, held: str) -> None:
    data = bytes(range(200))

    def send() -> None:
        for offset in range(0, 200, 10):
            append(store, held, offset, data[offset : offset + 10])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert text(store, held) == data


def test_points_keep_every_bit(store: Store, held: str) -> None:
    points = [
        Point("loss", 1, 10, 0.1),
        Point("acc", -5, 11, math.nan),
        Point("loss", 3, 12, math.inf),
        Point("loss", 2, 13, -math.inf),
        Point("loss", 3, 14, 5e-324),
    ]

    def send(offset: int, some: list[Point]) -> int:
        return store.write(lambda tx: tx.streams.append_points(held, offset, some))

    assert send(0, points[:3]) == 3
    assert send(0, points) == 5
    assert send(2, points[2:]) == 5
    with pytest.raises(OffsetMismatch):
        send(6, points)
    with pytest.raises(InvalidInput):
        send(5, [Point("loss", 2**63, 1, 1.0)])

    def series(key: str, low: int | None = None, high: int | None = None) -> list[Point]:
        return store.read(lambda tx: tx.streams.series(held, key, low, high))

    assert series("loss") == [p for p in points if p.key == "loss"]
    assert series("loss", 2, 2) == [points[3]]
    assert math.isnan(series("acc")[0].value)
    latest = store.read(lambda tx: tx.streams.latest([held, "att_none"]))
    assert latest[held]["loss"] == points[4]
    assert set(latest) == {held}
    assert store.read(lambda tx: tx.streams.n_points(held, "loss")) == 4
    assert store.read(lambda tx: tx.streams.n_points(held, "none")) == 0
    assert store.read(lambda tx: tx.streams.info(held)) == [StreamInfo("metrics", 5, False)]
    first, end = store.read(lambda tx: tx.streams.points_after(held, 0, 2))
    assert (len(first), end) == (3, 3)
    rest, end = store.read(lambda tx: tx.streams.points_after(held, end, 100))
    assert ([p.value for p in rest], end) == ([-math.inf, 5e-324], 5)
    assert store.read(lambda tx: tx.streams.points_after(held, end, 100)) == ([], 5)


def test_files(store: Store) -> None:
    account(store)
    one = add(store, job(1))[0]
    blob = BlobRef("a" * 32, "b" * 64, 5)
    uploads = [Upload(f"upl_{n}", ACC, "data.csv", 5, at(n)) for n in range(4)]

    def fill(tx: Tx) -> None:
        for upload in uploads:
            tx.files.insert_upload(upload)
        tx.files.save_upload(replace(uploads[1], blob=blob, completed_at=at(9)))

    store.write(fill)
    assert store.read(lambda tx: tx.files.find_uploads(ACC, "data.csv"))[0].blob == blob
    page = store.read(lambda tx: tx.files.uploads(ACC, After(at(3), "upl_3"), 2))
    assert [u.id for u in page] == ["upl_2", "upl_1"]
    files = (FileRef("a/b", blob, True), FileRef("c", BlobRef("c" * 32, "d" * 64, 7)))
    kinds = (ArtifactKind.CHECKPOINT, ArtifactKind.ARTIFACT)
    made = [
        Artifact(f"art_{n}", ACC, one.id, "att_1", kind, f"{n}" * 32 + ".dir", files, at(n), n)
        for n, kind in enumerate(kinds)
    ]
    store.write(lambda tx: [tx.files.insert_artifact(a) for a in made] and None)
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.files.insert_artifact(made[0]))
    assert store.read(lambda tx: tx.files.artifacts(one.id)) == made
    assert store.read(lambda tx: tx.files.artifacts(one.id, kinds[0])) == made[:1]
    store.write(lambda tx: tx.files.save_artifact(replace(made[0], pinned=True)))
    assert store.read(lambda tx: tx.files.get_artifact("art_0", ACC)).pinned
    assert store.read(lambda tx: tx.files.used_bytes(ACC)) == 12
    refs = {"a" * 32, "c" * 32, "0" * 32 + ".dir", "1" * 32 + ".dir"}
    assert store.read(lambda tx: tx.files.blob_refs(ACC)) == refs
    store.write(lambda tx: tx.files.delete_artifact("art_1"))
    store.write(lambda tx: tx.files.delete_upload("upl_0"))
    for gone in ("art_1", "art_0"):
        with pytest.raises(NotFound):
            store.read(lambda tx, g=gone: tx.files.get_artifact(g, "acc_x"))
    with pytest.raises(NotFound):
        store.read(lambda tx: tx.files.get_upload("upl_0"))


def test_events_by_cursor(store: Store) -> None:
    for n in range(6):
        event = Event("job.queued", ["a", "b"][n % 2], at(n), f"job_{n % 3}", None, {"n": n})
        store.write(lambda tx, e=event: tx.events.append(e))
    every = store.read(lambda tx: tx.events.page(0, 100))
    assert [e.data["n"] for e in every] == list(range(6))
    assert every[-1].seq == store.read(lambda tx: tx.events.last_seq())
    assert store.read(lambda tx: tx.events.page(every[2].seq, 2)) == every[3:5]
    assert len(store.read(lambda tx: tx.events.page(0, 100, "a"))) == 3
    assert len(store.read(lambda tx: tx.events.page(0, 100, "a", "job_0"))) == 1

    def own(tx: Tx) -> bool:
        tx.events.append(Event("job.queued", "c", NOW))
        return tx.events.page(0, 100, "c")[0].seq == tx.events.last_seq()

    assert store.write(own)


def test_a_cursor_skips_nothing_when_commits_cross(store: Store) -> None:
    """A slow transaction that began first must not slip an event behind a reader (D11)."""
    began, may_end = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        tx.records.set_meta("slow", "1")
        tx.events.append(Event("job.queued", "slow", NOW))
        tx.events.last_seq()  # gives the number now, long before the commit
        began.set()
        may_end.wait(0.3)

    def fast(n: int):  # type: ignore[no-untyped-def]
        return lambda tx: tx.events.append(Event("job.queued", f"fast{n}", NOW))

    seen: list[Event] = []
    stop = threading.Event()

    def follow() -> None:
        while True:
            last = stop.is_set()
            cursor = seen[-1].seq if seen else 0
            seen.extend(store.read(lambda tx, c=cursor: tx.events.page(c, 5)))
            if last and len(seen) >= 44:
                return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    futures: list[Future[None]] = []
    for n in range(4):
        began.clear()
        futures.append(store.submit(slow))
        began.wait(5)
        futures.extend(store.submit(fast(10 * n + i)) for i in range(10))
    may_end.set()
    for future in futures:
        future.result(10)
    stop.set()
    reader.join(10)
    assert len(seen) == 44
    assert [e.seq for e in seen] == sorted({e.seq for e in seen})
