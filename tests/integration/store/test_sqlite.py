"""What only SQLite has to prove: one server a file, kill -9, a full disk, backups,
back-pressure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.store.make import ACC, account, add, at, job, lease, submit

from trainshed.domain.errors import InvalidInput, Overloaded, StorageFull, Unavailable
from trainshed.ports import crash
from trainshed.ports.store import Store
from trainshed.store.engine import backup_sqlite, open_store

WRITER = """
import sys
from pathlib import Path
from tests.integration.store.make import account, attempt, job, submit, lease
from trainshed.store.engine import open_store
store = open_store(sys.argv[1])
if store.read(lambda tx: tx.people.accounts()) == []:
    account(store)
begin = int(sys.argv[2])
for n in range(begin, begin + 100_000):
    store.write(lambda tx: submit(tx, job(n), 1) and None)
    print(n, flush=True)
    held = lease(store, job(n))
    data, at = b"x" * 5000, job(n).created_at
    store.write(lambda tx: tx.streams.append_log(held.id, "stdout", 0, data, at))
"""


def sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def test_one_server_for_each_file(tmp_path: Path) -> None:
    store = open_store(sqlite(tmp_path / "a.db"))
    with pytest.raises(Unavailable, match=str(os.getpid())):
        open_store(sqlite(tmp_path / "a.db"))
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600
    store.close()
    open_store(sqlite(tmp_path / "a.db")).close()
    for wrong in ("sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x/y"):
        with pytest.raises(InvalidInput):
            open_store(wrong)


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    url = sqlite(tmp_path / "a.db")
    answered: list[int] = []
    for round_ in range(4):
        begin = 1 + round_ * 1_000_000
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(begin)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            answered.append(int(line))
            if int(line) >= begin + 25 * (round_ + 1):
                break
        time.sleep(0.003 * round_)
        process.send_signal(signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
    store = open_store(url)
    assert store.verify() == []
    for n in answered:
        store.read(lambda tx, n=n: tx.jobs.get(job(n).id))
    store.close()


@pytest.mark.parametrize("point", sorted(n for n in crash.names() if n.startswith("store.")))
def test_crash_points(point: str, tmp_path: Path) -> None:
    url = sqlite(tmp_path / "a.db")
    store = open_store(url)
    account(store)
    store.close()
    arm = f"import os; from trainshed.ports import crash; crash.arm({point!r}, os._exit)\n"
    done = subprocess.run(
        [sys.executable, "-c", arm + WRITER, url, "1"], capture_output=True, text=True,
        cwd=Path(__file__).parents[3], check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (137, ""), done.stderr
    store = open_store(url)
    assert store.verify() == []
    assert store.read(lambda tx: tx.jobs.counts(ACC)) == (
        {"QUEUED": 1} if point == "store.after_commit" else {}
    )
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_and_recovers_by_itself(small_disk: Path) -> None:
    store = open_store(sqlite(small_disk / "a.db"))
    account(store)
    held = lease(store, add(store, job(1))[0])
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 3_000_000)
    data = os.urandom(60_000)
    size = 0

    def fill() -> None:
        nonlocal size
        while True:
            size = store.write(
                lambda tx, s=size: tx.streams.append_log(held.id, "stdout", s, data, at(1))
            )

    with pytest.raises(StorageFull):
        fill()
    futures = [store.submit(lambda tx, n=n: submit(tx, job(n), 1) and None) for n in range(9, 400)]
    refused = [f for f in futures if isinstance(f.exception(10), StorageFull)]
    for future in futures:
        assert future.exception() is None or isinstance(future.exception(), StorageFull)
    stored = sum(store.read(lambda tx: tx.jobs.counts(None)).values())
    assert stored == 1 + len(futures) - len(refused)
    chunks = store.read(lambda tx: tx.streams.read_log(held.id, "stdout", 0, 10**9))
    assert sum(len(c.data) for c in chunks) == size
    ballast.unlink()
    assert (
        store.write(lambda tx: tx.streams.append_log(held.id, "stdout", size, data, at(2))) > size
    )
    assert store.verify() == []
    store.close()


def test_backup_while_writing(tmp_path: Path) -> None:
    store = open_store(sqlite(tmp_path / "a.db"))
    account(store)
    stop = threading.Event()
    made = 0

    def work() -> None:
        nonlocal made
        while not stop.is_set():
            made += 1
            store.write(lambda tx, n=made: submit(tx, job(n), 1) and None)

    thread = threading.Thread(target=work)
    thread.start()
    before = 0
    for n in range(3):
        while made < 20 * (n + 1):
            time.sleep(0.01)
        before = made - 1
        copies = (tmp_path / f"b{n}.db", tmp_path / f"c{n}.db")
        store.backup(str(copies[0]))
        backup_sqlite(tmp_path / "a.db", copies[1])
        for path in copies:
            copy = open_store(sqlite(path))
            assert copy.verify() == []
            assert copy.read(lambda tx: tx.jobs.counts(None))["QUEUED"] >= before
            copy.close()
    stop.set()
    thread.join()
    store.close()
    backup_sqlite(tmp_path / "a.db", tmp_path / "last.db")
    with pytest.raises(Unavailable):
        backup_sqlite(tmp_path / "none.db", tmp_path / "x.db")


def test_a_full_queue_says_so(tmp_path: Path) -> None:
    store = open_store(sqlite(tmp_path / "a.db"), queue=8)
    gate = threading.Event()
    first = store.submit(lambda tx: gate.wait(10) and None)

    def flood() -> None:
        for _ in range(20):
            store.submit(lambda tx: None)

    with pytest.raises(Overloaded) as caught:
        flood()
    assert caught.value.extra["retry_after_s"] > 0
    gate.set()
    first.result(10)
    store.write(lambda tx: None)
    store.close()


def test_the_wal_stays_small(tmp_path: Path) -> None:
    store: Store = open_store(sqlite(tmp_path / "a.db"))
    account(store)
    held = lease(store, add(store, job(1))[0])
    data = b"x" * 65_536
    for n in range(2_000):
        store.submit(
            lambda tx, n=n: tx.streams.append_log(held.id, "stdout", n * 65_536, data, at(1))
        )
    store.write(lambda tx: None)
    assert (tmp_path / "a.db-wal").stat().st_size < 100_000_000
    store.close()
    assert not (tmp_path / "a.db-wal").exists()
