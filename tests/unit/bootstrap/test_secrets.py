"""Secrets, clock, ids and the bus: the adapters that bootstrap builds itself."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from trainshed.bootstrap.bus import LoopBus
from trainshed.bootstrap.clock import SystemClock, SystemIds
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.domain.errors import Unavailable
from trainshed.domain.ids import PREFIXES, parse_id


def test_seal_survives_rotation_and_restart(tmp_path: Path) -> None:
    one = FileSecrets(tmp_path / "s")
    other = FileSecrets(tmp_path / "s")
    old = one.seal(b"secret")
    one.rotate()
    new = one.seal(b"secret")
    assert old[:5] != new[:5]
    for secrets in (one, other, FileSecrets(tmp_path / "s")):
        assert secrets.unseal(old) == secrets.unseal(new) == b"secret"
    assert one.seal(b"") != one.seal(b"")
    for damaged in (b"", b"\x01", new[:-1], new[:-1] + b"\0\0", b"\x02" + new[1:], b"\x01" * 40):
        with pytest.raises(Unavailable):
            one.unseal(damaged)


def test_files_are_for_the_server_alone(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir(mode=0o755)
    FileSecrets(folder).rotate()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in folder.iterdir()) == ["pepper", "ring.json", "signing"]
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}


def test_two_that_begin_together_agree(tmp_path: Path) -> None:
    made: list[FileSecrets] = []
    threads = [
        threading.Thread(target=lambda: made.append(FileSecrets(tmp_path / "s"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({s.digest("x") for s in made}) == 1
    sealed = made[0].seal(b"x")
    assert all(s.unseal(sealed) == b"x" for s in made)


def test_digest_sign_and_passwords(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path / "s")
    assert secrets.matches("token", secrets.digest("token"))
    assert not secrets.matches("token2", secrets.digest("token"))
    assert not secrets.matches("ü\ud800", "ü")
    assert secrets.digest("token") != FileSecrets(tmp_path / "t").digest("token")
    signature = secrets.sign(b"m")
    assert secrets.verify(b"m", signature)
    assert not secrets.verify(b"n", signature)
    assert not secrets.verify(b"m", "ü")
    hashed = secrets.hash_password("pässword\ud800")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert secrets.check_password("pässword\ud800", hashed)
    assert not secrets.check_password("other", hashed)
    assert not secrets.check_password("other", None)
    assert not secrets.check_password("other", "not a hash")
    assert "x" not in repr(secrets).lower()


def test_clock_and_ids() -> None:
    clock, ids = SystemClock(), SystemIds()
    assert clock.utc_now().utcoffset() is not None
    assert clock.monotonic() <= clock.monotonic()
    for kind in PREFIXES:
        assert parse_id(kind, ids.new(kind))
    assert len(ids.token()) == 43


def test_the_bus_wakes_waiters_from_any_thread() -> None:
    async def main() -> None:
        bus = LoopBus()
        bus.notify("nobody")
        bus.bind(asyncio.get_running_loop())
        bus.notify("nobody")
        assert not await bus.wait("a", 0.01)
        waits = [asyncio.ensure_future(bus.wait(t, 5)) for t in "aab"]
        await asyncio.sleep(0)
        threading.Thread(target=lambda: [bus.notify("a") for _ in range(100)]).start()
        done, pending = await asyncio.wait(waits, timeout=0.2)
        assert done == set(waits[:2])
        assert all(w.result() for w in done)
        for wait in pending:
            wait.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        again = asyncio.ensure_future(bus.wait("a", 5))
        await asyncio.sleep(0)
        bus.notify("a")
        assert await again
        assert bus._waiting == {}

    asyncio.run(main())


def test_a_closing_bus_wakes_everyone() -> None:
    async def main() -> None:
        bus = LoopBus()
        waits = [asyncio.ensure_future(bus.wait(t, 60)) for t in "aab"]
        await asyncio.sleep(0)
        assert not bus.closing
        bus.close()
        assert await asyncio.wait_for(asyncio.gather(*waits), 5) == [True] * 3
        assert bus.closing

    asyncio.run(main())


def test_notify_after_the_loop_closed() -> None:
    bus = LoopBus()

    async def begin() -> None:
        asyncio.get_running_loop().call_later(0, bus.notify, "a")
        await bus.wait("a", 1)

    asyncio.run(begin())
    bus._waiting["a"] = set()
    bus.notify("a")
