"""The bench's program against a real server: whatever it is given, it says so and goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import World, serving, world
from tests.support.mimaas import DOORS, POLICY, StandInCheck
from tests.support.server import eventually
from tests.unit.usecases.test_benches import BOARD, Boards, asked, runs, user

from trainshed import __version__
from trainshed.bootstrap import attach
from trainshed.bootstrap.attach import Agent
from trainshed.domain.bench import MAX_FAILURE, Measured
from trainshed.http.hall import HttpSettings
from trainshed.usecases import benches
from trainshed.workloads.board.target.parcel import pack_order
from trainshed.workloads.board.target.protocol import Execution, Firmware, TargetFailed
from trainshed_client import Client


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    wings = {"boards": Boards(tmp_path / "kept"), "model_check": StandInCheck()}
    settings = HttpSettings(version=__version__)
    with world(tmp_path, POLICY, settings, doors=DOORS, deps=wings) as one:
        yield one


class Scripted:
    """A target that does what it is told next."""

    def __init__(self) -> None:
        self.does: Callable[[], Execution] = lambda: _fail(TargetFailed("Nothing was said."))

    def run(self, *_: Any) -> Execution:
        return self.does()


def _fail(error: BaseException) -> Execution:
    raise error


@contextlib.contextmanager
def at_work(w: World, folder: Path) -> Iterator[tuple[Scripted, Agent]]:
    over = threading.Event()
    target = Scripted()
    with serving(w.app) as url, Client(url, w.admin.key) as client:
        agent = Agent(client, target, BOARD, "desk", folder, lambda _: None, ask_s=1)  # type: ignore[arg-type]
        work = threading.Thread(target=agent.serve, args=(over.is_set,))
        work.start()
        try:
            eventually(lambda: benches.listing(w.deps), 30, "attached")
            yield target, agent
            assert work.is_alive(), "the bench's program has ended"
        finally:
            over.set()
            work.join(60)
    assert not work.is_alive()


def order(tmp_path: Path) -> bytes:
    image = tmp_path / "image.elf"
    image.write_bytes(b"\x7fELF")
    return pack_order(Firmware(image, "0" * 64, (), "", (4,)), BOARD, ((b"in",),), 3)


def said(w: World, attempt_id: str) -> str:
    def look() -> Measured | None:
        return benches.outcome(w.deps, attempt_id)

    return str(eventually(look, 30, "an answer").failure)


def test_whatever_goes_wrong_is_said_and_the_next_is_taken(w: World, tmp_path: Path) -> None:
    one, good = runs(w, user(w)), order(tmp_path)
    with at_work(w, tmp_path / "bench") as (target, _):
        for data in (b"", b"{}\n", b"[" * 60_000 + b"\n", b'{"board": 3}\n', b"\xff" * 99):
            assert said(w, asked(w, one, data))
        for error, words in (
            (TargetFailed("a wire\n" * 1000), "a wire a wire"),
            (TargetFailed(""), "did not say why"),
            (TargetFailed("\udcff\x00"), "did not say why"),
            (KeyError("bench_inputs"), "KeyError"),
            (RecursionError("deep"), "RecursionError"),
        ):
            target.does = lambda error=error: _fail(error)  # type: ignore[misc]
            found = said(w, asked(w, one, good))
            assert words in found
            assert len(found) <= MAX_FAILURE


def test_a_board_that_hangs_is_heard_of_no_more(
    w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "RENEW_S", 0.1)
    monkeypatch.setattr(attach, "MOST_S", 1.0)
    one = user(w)
    seen: list[Any] = []
    with at_work(w, tmp_path / "bench") as (target, _):

        def hangs() -> Execution:
            for _ in range(2):
                time.sleep(2)
                seen.extend(b.seen_at for b in benches.listing(w.deps))
            return _fail(TargetFailed("It hung."))

        target.does = hangs
        assert said(w, asked(w, one, order(tmp_path))) == "It hung."
    assert seen[0] == seen[1]


def test_a_slow_line_does_not_cost_it_the_work(
    w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "RENEW_S", 0.1)
    one = user(w)
    with at_work(w, tmp_path / "bench") as (_, agent):
        fetch = agent.client.benches.parcel
        seen: list[Any] = []

        def slowly(bench_id: str, id_: str) -> bytes:
            for _ in range(2):
                seen.append(w.deps.store.read(lambda tx: tx.benches.get(bench_id)).seen_at)
                time.sleep(1.5)
            return bytes(fetch(bench_id, id_))

        monkeypatch.setattr(type(agent.client.benches), "parcel", lambda _, *a: slowly(*a))
        assert said(w, asked(w, one, order(tmp_path)))
    assert seen[1] > seen[0], "it was not heard of meanwhile"
